# SPDX-License-Identifier: LGPL-3.0-only
"""Who may read what: every public way into every model of the addon, tried as those who may not.

What is A's must not come out to others. A's are here: names, logins, hosts and envelope senders of
its servers and mailboxes, its domain, what it wrote to whom, what its providers said, its
unprocessed mail. What native Odoo shows them anyway stays as it is, and stands in ``NATIVE``.
"""

import inspect
import re

import psycopg2

from odoo import api
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.models import BaseModel
from odoo.tests import tagged
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger

from .test_companies import TwoCompaniesCase

ADDON = "odoo.addons.mail_company_routing."

#: what to look for, by what it is
SECRETS = {
    "server name": "Secret SMTP",
    "login": "secretlogin@",
    "host": "secret-host.example",
    "mailbox": "Secret mailbox",
    "mailbox login": "secretmailbox@",
    "unprocessed": "Secret enquiry",
    "recipient": "secretcustomer@",
    "author": "secretauthor@",
    "answers": "secretanswers@",
    "words": "Secret words",
    "subject": "Secret offer",
}

FAILURE = {"words", "server name", "login"}

#: (model, what is done, what comes out of it natively to whoever may read the model, whatever the
#: company). Odoo has no company rule for who reads a notification, whose failure names its server;
#: it names a record to whoever sees a link to it; colleagues see each other's addresses.
NATIVE = (
    ("mail.notification", r"search_read|.*failure_reason", FAILURE),
    ("mail.notification", r"search_read|(read|export|group) mail_mail_id", {"subject"}),
    ("res.users", r"search_read|(read|export|group) email", {"author"}),
)

#: the same for administrators: every mail and its notifications, with what is kept on them, and
#: every company's form
NATIVE_OF_ADMINISTRATORS = (
    *NATIVE,
    ("mail.mail", r".*", FAILURE | {"recipient", "author", "answers", "subject"}),
    ("mail.message", r"(export|group)", {"author", "answers", "subject"}),
    ("mail.notification", r".*", FAILURE | {"subject"}),
    ("res.company", r"(search_|)read|export", {"answers"}),
)

#: models whose records the addon makes or shows
MODELS = (
    "fetchmail.server",
    "ir.mail_server",
    "mail.alias.domain",
    "mail.checkup",
    "mail.checkup.line",
    "mail.compose.message",
    "mail.lane",
    "mail.mail",
    "mail.mailbox.progress",
    "mail.mailbox.setup",
    "mail.message",
    "mail.notification",
    "mail.outgoing.domain",
    "mail.provider",
    "mail.resend.message",
    "mail.route.explain",
    "mail.routing.start",
    "mail.sent",
    "mail.unprocessed",
    "mail.unprocessed.choose",
    "res.company",
    "res.config.settings",
    "res.users",
)


#: methods that are native's, and tried with arguments or not a reader's
TRIED_OTHERWISE = {
    "action_install_oauth",  # Odoo forbids installing a module in a test
    "build_email",
    "connect",
    "create",
    "default_get",
    "get_mail_values",
    "init",
    "message_new",
    "message_process",
    "message_route",
    "name_get",
    "onchange",
    "send_email",
    "unlink",
    "write",
}


@tagged("post_install", "-at_install")
class TestReading(TwoCompaniesCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        new_user = new_test_user
        cls.portal = new_user(cls.env, "reading_portal", groups="base.group_portal")
        cls.internal = new_user(cls.env, "reading_internal", groups="base.group_user")
        cls.internal.write({"company_ids": [(6, 0, cls.a.ids)], "company_id": cls.a.id})
        cls.of_other = new_user(cls.env, "reading_other", groups="base.group_user")
        cls.admin_b = new_user(
            cls.env, "reading_admin", groups="base.group_system,base.group_partner_manager"
        )
        for user in cls.of_other + cls.admin_b:
            user.write({"company_ids": [(6, 0, cls.b.ids)], "company_id": cls.b.id})
        cls.private = cls.env["res.partner"].create(
            {"name": "Document of A", "company_id": cls.a.id}
        )
        cls.author = new_user(
            cls.env,
            "reading_author",
            groups="base.group_user,base.group_partner_manager",
            email="secretauthor@a.com",
        )
        cls.author.write({"company_ids": [(6, 0, cls.a.ids)], "company_id": cls.a.id})
        cls.customer_of_a = cls.env["res.partner"].create(
            {"name": "C", "email": "secretcustomer@example.net", "company_id": cls.a.id}
        )

    def setUp(self):
        super().setUp()
        self.server_a.write(
            {
                "name": "Secret SMTP",
                "smtp_user": "secretlogin@a.com",
                "sender_address": "secretlogin@a.com",
                "sender_policy": "login",
                "from_filter": False,
            }
        )
        self.a.write({"reply_to_by_company": True, "reply_to_prefix": "secretanswers"})
        self.provider_a.add_account("secretlogin@a.com", "secret")
        self.provider_a.fail("mail", "553 Mail from must equal authorized user: Secret words")
        with mute_logger(
            "odoo.addons.mail.models.mail_mail", "odoo.addons.base.models.ir_mail_server"
        ):
            self.message = self.post(
                self.private,
                self.author,
                to=self.customer_of_a,
                subject="Secret offer",
                mail_auto_delete=False,
            )
        self.mail_of_a = self.env["mail.mail"].search([("mail_message_id", "=", self.message.id)])
        self.assertEqual(self.mail_of_a.state, "exception")
        self.mailbox = self.env["fetchmail.server"].create(
            {
                "name": "Secret mailbox",
                "server_type": "imap",
                "server": "secret-host.example",
                "user": "secretmailbox@a.com",
                "password": "secret",
                "company_id": self.a.id,
                "state": "done",
            }
        )
        self.env["mail.unprocessed"].create(
            {"subject": "Secret enquiry", "company_id": self.a.id, "raw": b"U3ViamVjdDogeA=="}
        )
        lane = self.env["mail.lane"].search([("server_id", "=", self.server_a.id)])
        lane.pause_reason = "421 Secret words"
        self.assertIn("secretlogin@", self.env["mail.sent"].search([]).mapped("mail_from")[0])
        self.env.flush_all()

    # ------------------------------------------------------------
    # What they try
    # ------------------------------------------------------------

    def records(self, model):
        """Give the records of A that somebody may ask for, by their numbers."""
        records = self.env[model].sudo().with_context(active_test=False)
        return {
            "mail.mail": self.mail_of_a,
            "mail.message": self.message,
            "mail.notification": self.message.notification_ids,
            "res.company": self.a,
            "res.users": self.author,
            "ir.mail_server": self.server_a,
            "fetchmail.server": self.mailbox,
        }.get(model) or records.search([], limit=20)

    def forged(self, model):
        """Give values for a form that nobody gave him."""
        refused = "553 Mail from must equal authorized user"
        values = {
            "mail_id": self.mail_of_a.id,
            "message_id": self.message.id,
            "mail_message_id": self.message.id,
            "state": "exception",
            "result": "exception",
            "notification_status": "exception",
            "failure_reason": refused,
            "server_id": self.server_a.id,
            "sent_server_id": self.server_a.id,
            "mail_from": "x@a.com",
            "res_model": "res.partner",
            "model": "res.partner",
            "res_id": self.private.id,
            "company_id": self.a.id,
            "record_company_id": self.a.id,
            "alias_domain_id": self.a.alias_domain_id.id,
            "user_id": self.author.id,
            "provider_id": self.env["mail.provider"].search([], limit=1).id,
            "email": "secretlogin@a.com"[6:],
            "email_from": "x@a.com",
            "reply_domain_id": self.a.alias_domain_id.id,
            "smtp_host": "127.0.0.1",
            "mail_server_by_domain": True,
        }
        fields = self.env[model]._fields
        return {name: value for name, value in values.items() if name in fields}

    def tries(self, model, user):
        """Yield (what, function) of every way into a model."""
        records = self.records(model).with_user(user).with_env(self.env(user=user.id))
        table = records.browse()
        fields = self.env[model]._fields
        ours = [
            name
            for name, field in fields.items()
            if table._module == "mail_company_routing" or self.is_ours(model, name)
        ]

        def call(method, *args, ids=None, **kwargs):
            args = [ids, *args] if ids is not None else list(args)
            return lambda: api.call_kw(table, method, args, kwargs)

        yield "search_read", call("search_read", [], list(fields))
        for name in fields:
            yield f"read {name}", call("read", [name], ids=records.ids)
            if name != "id":  # native takes the table of its numbers for granted
                yield f"export {name}", call("export_data", [name], ids=records.ids)
            yield f"group {name}", call("read_group", [], [name], [name])
            if name in ours:
                found = [(name, "ilike", "secret")]
                yield f"search {name}", call("search_read", found, ["display_name"])
        yield "name_search", call("name_search", "")
        yield "name_get", call("name_get", ids=records.ids)
        yield "default_get", call("default_get", list(fields))
        # many2one fields of native's are named by native, whoever asks
        spec = {name: "1" for name in ours} | {
            f"{name}.{sub}": ""
            for name in ours
            if fields[name].type in ("one2many", "many2many")
            for sub in self.env[fields[name].comodel_name]._fields
            if fields[name].comodel_name in ("mail.sent", "mail.checkup.line")
        }
        values = self.forged(model)
        for name in [False, *values]:
            yield f"onchange {name}", call("onchange", values, name or [], spec, ids=[])
            for record in records:
                yield (
                    f"onchange {name} of {record.id}",
                    call("onchange", values, name or [], spec, ids=record.ids),
                )
                if not name:
                    yield (
                        f"onchange of {record.id}, nothing changed",
                        call("onchange", {}, [], spec, ids=record.ids),
                    )
        for name, method in self.methods(model):
            if getattr(method, "_api", None) == "model":
                yield name, call(name)
                continue
            for ids in (records.ids, records.ids[:1], []):
                yield f"{name} {ids}", call(name, ids=ids)

    def is_ours(self, model, name):
        return self.env[model]._fields[name].base_field._modules == ("mail_company_routing",)

    def methods(self, model):
        """List the public methods that the addon adds to a model, or changes in it."""
        methods = {}
        for cls in type(self.env[model]).__mro__:
            if cls.__module__.startswith(ADDON) and issubclass(cls, BaseModel):
                methods |= {
                    name: getattr(self.env[model], name)
                    for name, value in vars(cls).items()
                    if inspect.isfunction(value) and not name.startswith("_")
                }
        return sorted(item for item in methods.items() if item[0] not in TRIED_OTHERWISE)

    @mute_logger("odoo.models", "odoo.addons.base.models.ir_rule", "odoo.sql_db", "odoo.api")
    def told(self, model, user):
        """Collect what comes out: (way, secret's name), and the tracebacks."""
        found, broken = [], []
        for what, function in self.tries(model, user):
            savepoint = self.env.cr.savepoint()
            try:
                said = repr(function())
            except UserError as error:
                said = str(error)
            except (NotImplementedError, ValueError, psycopg2.Error) as error:
                # native's own answer to what no form asks: an unknown operator, no such column
                said = str(error)
            except Exception as error:
                said = f"{error!r}"
                broken.append((what, said))
            finally:
                savepoint.close(rollback=True)
                self.env.invalidate_all()
            found += [(what, name) for name, secret in SECRETS.items() if secret in said]
        return found, broken

    def assertTold(self, user, native=NATIVE, **allowed):
        problems = []
        for model in MODELS:
            found, broken = self.told(model, user)
            expected = allowed.get(model.replace(".", "_"), ())
            problems += [
                f"{model} {what}: {name}"
                for what, name in found
                if name not in expected
                and not any(
                    model == of and name in names and re.match(way, what)
                    for of, way, names in native
                )
            ]
            problems += [f"{model} {what} broke: {said}" for what, said in broken]
        self.assertFalse(problems, f"{len(problems)}:\n" + "\n".join(problems[:60]))

    # ------------------------------------------------------------
    # Who tries
    # ------------------------------------------------------------

    def test_a_portal_user(self):
        self.assertTold(self.portal)

    def test_an_internal_user(self):
        """He may read the documents of A, and what was written about them; not how it went."""
        of_document = {"author", "answers", "subject", "recipient"}
        self.assertTold(
            self.internal,
            mail_message=of_document,
            mail_compose_message=of_document,
            mail_resend_message=of_document,
            res_users={"author"},
            # what the customer sees of his own mail
            res_company={"answers", "login"},
            mail_outgoing_domain={"login"},
        )

    def test_a_user_of_another_company(self):
        self.assertTold(self.of_other)

    def test_an_administrator_of_another_company(self):
        self.assertTold(self.admin_b, NATIVE_OF_ADMINISTRATORS)

    def test_general_settings_name_nothing_of_another_company(self):
        """What is there of others is told all the same: it keeps a setting from being saved."""
        self.server_a.write({"sender_policy": "default", "smtp_user": "secretlogin"})
        self.server_a.sender_address = False
        self.server_b.sender_policy = "default"
        Settings = self.env["res.config.settings"].with_user(self.admin_b)
        settings = Settings.create({})
        told = settings.restrict_username_note, settings.catch_all_note, settings.alias_domain_note
        self.assertEqual(told[0], "Decides for the servers: B SMTP, …. Others have a policy.")
        self.assertEqual(told[1], "Decides for: b.com, …. Other domains say for themselves.")
        self.assertNotIn("Qingdao Ohm", told[2])
        with self.assertRaises(ValidationError) as caught:
            Settings.create({"mail_restrict_username": True})
        self.assertIn("1 of other companies: ask", str(caught.exception))
        self.assertNotIn("Secret SMTP", str(caught.exception))
        self.assertNotIn("secretlogin", str(caught.exception))

    def test_an_administrator_whose_switcher_shows_another_company(self):
        """What is his is his, whatever is ticked."""
        self.admin_b.company_ids += self.a
        wizard = self.env["mail.route.explain"].with_user(self.admin_b)
        wizard = wizard.with_context(allowed_company_ids=self.b.ids)
        for values in (
            {"mail_id": self.mail_of_a.id},
            {"message_id": self.message.id},
            {"res_model": "res.partner", "res_id": self.private.id, "user_id": self.author.id},
        ):
            self.assertEqual(wizard.create(values).mail_from, "secretlogin@a.com", values)

    def test_the_route_is_no_oracle(self):
        """What may not be read is not searched for either."""
        table = self.env["mail.notification"].with_user(self.portal)
        for ask in (
            lambda: table.search([("sent_mail_from", "like", "secret%")]),
            lambda: table.search_count([("sent_server_id.name", "=", "Secret SMTP")]),
            lambda: table.read_group([], ["x:max(sent_mail_from)"], ["notification_type"]),
            lambda: table.onchange({}, [], {"sent_server_id": ""}),
        ):
            with self.assertRaises(AccessError):
                ask()
        self.assertTrue(
            self.env["mail.notification"]
            .with_user(self.admin_b)
            .search([("sent_mail_from", "like", "secret%")])
        )
