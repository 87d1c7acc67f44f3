# SPDX-License-Identifier: LGPL-3.0-only
"""The kinds of mail that Odoo's apps send, how each is made, and how SPEC has it leave.

Every document is B's, where the kind has a document with a company, and is written while A is the
current company. Where there is none, "why" tells whose the mail is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from odoo import Command
from odoo.tests.common import Form
from odoo.tools import hmac

from .common import CUSTOMER

BODY = "<p>Hello</p>"
SUBJECT = "Hello"

LOGIN = "kevin@b.com"
ZIYING = ("Murong Ziying", "zy@b.com")


@dataclass(frozen=True)
class Kind:
    """One kind of mail.

    :param name: of the test
    :param make: gets the test case, and does what the user, the visitor or the cron does
    :param why: the rule that gives company, From and Reply-To: numbers are those of the rules for
        the company of a mail (C1: its document; C2: its server; C3: its author; C4: its domain),
        for From (F1-F4) and for Reply-To (R0: given; R1-R4)
    :param header_from: name and address of the From header, on a server that lets anybody send
    :param author: the address that is shown beside the name where From is the login; by default
        that of ``header_from``
    :param without_notification: the address in From where no notification address exists; by
        default ``author``
    :param reply_to: address of the Reply-To header
    :param given: whether that one was given
    :param count: how many mails there are, all alike
    """

    name: str
    make: Callable
    why: str
    header_from: tuple[str, str] = ZIYING
    author: str = ""
    without_notification: str = ""
    reply_to: str = "catchall@b.com"
    given: bool = False
    count: int = 1

    def leaves(self):
        """Give company of the server, MAIL FROM, name, From and Reply-To."""
        return ("B", "bounce@b.com", *self.header_from, self.reply_to)

    def leaves_restricted(self):
        """Give the same where B's server lets its login alone send: From and MAIL FROM are it."""
        name, address = self.header_from
        return ("B", LOGIN, f"{name} ({self.author or address})", LOGIN, self.reply_to)

    def leaves_without_catch_all(self):
        """Give the same where no address is invented: MAIL FROM and Reply-To are the login (R4)."""
        name, address = self.header_from
        reply_to = self.reply_to if self.given else LOGIN
        address = self.without_notification or self.author or address
        return ("B", LOGIN, name, address, reply_to)


# ------------------------------------------------------------
# Documents
# ------------------------------------------------------------


def order_of(case):
    """Give B's order to Ziying, who has A current and B ticked."""
    return case.order.with_env(case.env_of(case.ziying, case.a, case.b))


def wizard_of(case, action, record=None):
    """Open, for Ziying, the wizard that a button gives.

    :param record: whose button it is
    """
    env = case.env_of(case.ziying, case.a, case.b)
    active = {"active_model": record._name, "active_ids": record.ids} if record else {}
    return Form(env[action["res_model"]].with_context(**{**active, **action["context"]}))


def chatter(case, order=None):
    (order or order_of(case)).message_post(
        body=BODY,
        partner_ids=case.customer.ids,
        message_type="comment",
        subtype_xmlid="mail.mt_comment",
    )


def quotation(case):
    wizard_of(case, order_of(case).action_quotation_send()).save()._action_send_mail()


def invoices(case, *companies):
    """Give a posted invoice of each company, as Ziying sees them from A."""
    moves = case.env["account.move"]
    for company in companies:
        moves += case.env_of(case.ziying, company)["account.move"].create(
            {
                "move_type": "out_invoice",
                "partner_id": case.customer.id,
                "invoice_user_id": case.ziying.id,
                "invoice_line_ids": [
                    Command.create({"product_id": case.product.id, "price_unit": 10})
                ],
            }
        )
    moves.action_post()
    return moves.with_env(case.env_of(case.ziying, case.a, case.b))


def send_batch(case, moves):
    """Choose invoices in the list, Send & Print."""
    template = case.env.ref("account.email_template_edi_invoice")
    action = {
        "res_model": "account.invoice.send",
        "context": {"default_template_id": template.id, "mark_invoice_as_sent": True},
    }
    wizard_of(case, action, moves).save().send_and_print_action()


def invoice(case):
    move = invoices(case, case.b)
    wizard_of(case, move.action_invoice_sent(), move).save().send_and_print_action()


def invoice_batch(case):
    send_batch(case, invoices(case, case.b, case.b))


def payment_receipt(case):
    env = case.env_of(case.ziying, case.b)
    payment = env["account.payment"].create({"partner_id": case.customer.id, "amount": 10})
    payment.action_post()
    context = {
        "default_model": payment._name,
        "default_res_id": payment.id,
        "default_use_template": True,
        "default_template_id": env.ref("account.mail_template_data_payment_receipt").id,
        "default_composition_mode": "comment",
    }
    action = {"res_model": "mail.compose.message", "context": context}
    wizard_of(case, action).save()._action_send_mail()


def purchase_order(case):
    env = case.env_of(case.ziying, case.b)
    order = env["purchase.order"].create(
        {
            "partner_id": case.customer.id,
            "order_line": [Command.create({"product_id": case.product.id})],
        }
    )
    order = order.with_env(case.env_of(case.ziying, case.a, case.b))
    wizard_of(case, order.action_rfq_send()).save()._action_send_mail()


def delivery(case):
    case.b.stock_move_email_validation = True
    order = order_of(case)
    order.action_confirm()
    picking = order.picking_ids
    for move in picking.move_ids:
        move.quantity_done = move.product_uom_qty
    picking.with_context(skip_sms=True).button_validate()


def task_assignment(case):
    env = case.env_of(case.ziying, case.b)
    project = env["project.project"].create({"name": "Line 3", "alias_name": "tasks"})
    task = env["project.task"].create({"name": "Solder", "project_id": project.id})
    task = task.with_env(case.env_of(case.ziying, case.a, case.b))
    task.user_ids = case.bob


def applicant_refusal(case):
    env = case.env_of(case.ziying, case.b)
    applicant = env["hr.applicant"].create(
        {
            "name": "Candidate",
            "partner_name": "Candidate",
            "email_from": "candidate@example.net",
            "job_id": env["hr.job"].create({"name": "Engineer", "company_id": case.b.id}).id,
            "company_id": case.b.id,
        }
    )
    action = applicant.with_env(case.env_of(case.ziying, case.a, case.b)).archive_applicant()
    wizard = wizard_of(case, action)
    wizard.refuse_reason_id = case.env.ref("hr_recruitment.refuse_reason_1")
    wizard.template_id = case.env.ref("hr_recruitment.email_template_data_applicant_refuse")
    wizard.save().action_refuse_reason_apply()


def activity(case):
    order_of(case).activity_schedule("mail.mail_activity_data_todo", user_id=case.bob.id)


def follower_invitation(case):
    order = order_of(case)
    stranger = case.env["res.partner"].create({"name": "Stranger", "email": "s@example.net"})
    order.env["mail.wizard.invite"].create(
        {
            "res_model": order._name,
            "res_id": order.id,
            "partner_ids": [Command.set(stranger.ids)],
            "message": "<p>Have a look</p>",
        }
    ).add_followers()


def cart_recovery(case):
    """The automated action sends it: see action_recovery_email_send's twin for the button."""
    case.order.with_env(case.env_of(case.root, case.a))._cart_recovery_email_send()


def portal_answer(case):
    case.authenticate("customer", "customer")
    case.ask_json(
        "/mail/chatter_post",
        {
            "res_model": case.order._name,
            "res_id": case.order.id,
            "token": case.order._portal_ensure_token(),
            "message": "We agree.",
        },
    )


# ------------------------------------------------------------
# Calendar, survey, event, website
# ------------------------------------------------------------


def meeting(case, env, user, **values):
    start = case.today() + timedelta(minutes=20)
    return env["calendar.event"].create(
        {
            "name": "Meeting",
            "user_id": user.id,
            "start": start,
            "stop": start + timedelta(hours=1),
            "partner_ids": [Command.set(case.customer.ids)],
            **values,
        }
    )


def calendar_invitation(case):
    meeting(case, case.env_of(case.ziying, case.b, case.a), case.ziying)


def calendar_reminder(case):
    env = case.env_of(case.bob, case.b)
    meeting(
        case,
        env(context={**env.context, "no_mail_to_attendees": True}),
        case.bob,
        alarm_ids=[Command.set(case.env.ref("calendar.alarm_mail_1").ids)],
    )
    case.env["calendar.event"].flush_model()
    case.env_of(case.root, case.a)["calendar.alarm_manager"]._send_reminder()


def survey_invitation(case):
    env = case.env_of(case.ziying, case.b, case.a)
    survey = env["survey.survey"].create(
        {"title": "Are you content?", "question_and_page_ids": [Command.create({"title": "?"})]}
    )
    action = survey.action_send_survey()
    wizard = Form(env["survey.invite"].with_context(**action["context"]))
    wizard.partner_ids.add(case.customer)
    wizard.save().action_invite()


def event_confirmation(case):
    env = case.env_of(case.ziying, case.b)
    event = env["event.event"].create(
        {
            "name": "Fair",
            "date_begin": case.today() + timedelta(days=1),
            "date_end": case.today() + timedelta(days=2),
        }
    )
    case.assertEqual(event.organizer_id, case.b.partner_id)
    env = case.env_of(case.ziying, case.a, case.b)
    registration = env["event.registration"].create(
        {"event_id": event.id, "name": "Customer", "email": CUSTOMER}
    )
    registration.action_confirm()


def website_lead(case):
    case.post_form(
        "crm.lead",
        contact_name="Visitor",
        email_from="visitor@example.net",
        name="Enquiry",
        description="What does it cost?",
    )


def website_mail(case):
    to = "sales@example.org"
    case.post_form(
        "mail.mail",
        email_from="visitor@example.net",
        subject="Enquiry",
        body_html="What does it cost?",
        email_to=to,
        website_form_signature=hmac(case.env(su=True), "website_form_signature", to),
    )


# ------------------------------------------------------------
# Mailings, digest, group
# ------------------------------------------------------------


def mailing(case, user, company, model="mailing.list", **values):
    env = case.env_of(user, company)
    if model == "mailing.list":
        people = env["mailing.list"].create(
            {
                "name": "Readers",
                "contact_ids": [Command.create({"name": "Reader", "email": "reader@example.net"})],
            }
        )
        values["contact_list_ids"] = [Command.set(people.ids)]
    record = env["mailing.mailing"].create(
        {
            "subject": "News",
            "body_html": "<p>News</p>",
            "mailing_model_id": env["ir.model"]._get_id(model),
            **values,
        }
    )
    record.flush_recordset()  # what it takes from the user is his who enters it
    return record


def send_mailing(case, *args, **values):
    mailing(case, *args, **values).action_put_in_queue()
    case.env_of(case.root, case.a)["mailing.mailing"]._process_mass_mailing_queue()


def mailing_on_a_list(case):
    send_mailing(case, case.bob, case.b, email_from="News <news@b.com>")


def mailing_on_partners(case):
    send_mailing(
        case,
        case.bob,
        case.b,
        "res.partner",
        reply_to_mode="update",
        mailing_domain=repr([("id", "=", case.customer.id)]),
    )


def mailing_with_a_server(case):
    send_mailing(
        case,
        case.ziying,
        case.a,
        reply_to_mode="update",
        mail_server_id=case.servers["B"].id,
    )


def mailing_with_a_reply_to(case):
    send_mailing(
        case,
        case.ziying,
        case.a,
        email_from="News <news@b.com>",
        reply_to_mode="new",
        reply_to="offers@b.com",
    )


def mailing_test(case):
    mail = mailing(
        case, case.ziying, case.a, email_from="News <news@b.com>", reply_to_mode="update"
    )
    mail.env["mailing.mailing.test"].create(
        {"mass_mailing_id": mail.id, "email_to": CUSTOMER}
    ).send_mail_test()


def digest(case):
    env = case.env_of(case.ziying, case.b)
    env["digest.digest"].create(
        {"name": "Digest of B", "company_id": case.b.id, "user_ids": [Command.set(case.bob.ids)]}
    ).with_env(case.env_of(case.root, case.a)).action_send()


def mail_group(case):
    group = case.env_of(case.ziying, case.b)["mail.group"].create(
        {
            "name": "Friends",
            "alias_name": "friends",
            "access_mode": "public",
            "member_ids": [Command.create({"email": CUSTOMER})],
        }
    )
    # as a mail of his is fetched
    group.with_env(case.env_of(case.root, case.a)).message_post(
        body=BODY,
        subject=SUBJECT,
        email_from=case.bob.email_formatted,
        author_id=case.bob.partner_id.id,
        message_type="email",
    )


# ------------------------------------------------------------
# Users, and mails by hand
# ------------------------------------------------------------


def password_reset(case):
    case.bob.with_env(case.env_of(case.ziying, case.a, case.b)).action_reset_password()


def user_invitation(case):
    case.env_of(case.ziying, case.a, case.b)["res.users"].create(
        {
            "name": "Newcomer",
            "login": "newcomer@example.net",
            "email": "newcomer@example.net",
            "company_id": case.b.id,
            "company_ids": [Command.set(case.b.ids)],
        }
    )


def portal_invitation(case):
    env = case.env_of(case.ziying, case.b, case.a)
    partner = env["res.partner"].create({"name": "Stranger", "email": "s@example.net"})
    wizard = env["portal.wizard"].with_context(active_ids=partner.ids).create({})
    wizard.user_ids.action_grant_access()


def direct_mail(case):
    server = case.env_of(case.root, case.a)["ir.mail_server"]
    server.send_email(
        server.build_email(
            email_from="News <news@b.com>", email_to=[CUSTOMER], subject="News", body="News"
        )
    )


NEWS = ("News", "news@b.com")
BOB = ("Bob", "bob@b.com")
COMPANY = ("B", "info@b.com")
GIVEN_C1 = "C1: the document is B's; F3: zy@a.com is moved to B's Email Domain"

KINDS = (
    Kind("chatter", chatter, f"{GIVEN_C1}; R3"),
    Kind("quotation", quotation, f"{GIVEN_C1}; R3"),
    Kind("invoice", invoice, f"{GIVEN_C1}; R3"),
    Kind("invoice_batch", invoice_batch, f"{GIVEN_C1}; R3", count=2),
    Kind("payment_receipt", payment_receipt, f"{GIVEN_C1}; R3"),
    Kind("purchase_order", purchase_order, f"{GIVEN_C1}; R3"),
    Kind("delivery", delivery, f"{GIVEN_C1}; R3"),
    Kind(
        "task_assignment",
        task_assignment,
        f"{GIVEN_C1}; R1: the project has the alias tasks",
        reply_to="tasks@b.com",
    ),
    Kind("applicant_refusal", applicant_refusal, f"{GIVEN_C1}; R3"),
    Kind("activity", activity, f"{GIVEN_C1}; R3"),
    Kind(
        "follower_invitation",
        follower_invitation,
        f"{GIVEN_C1}; R3: it is Odoo's code that gives the author's address, nobody chose it",
    ),
    Kind("cart_recovery", cart_recovery, f"{GIVEN_C1}; R3: the template has no Reply-To"),
    Kind(
        "portal_answer",
        portal_answer,
        "C1; From is no domain's of the table: native puts the notification address, B's, which"
        " exists since b.com has a catch-all; server by C; R3",
        header_from=("Customer", "notifications@b.com"),
        author=CUSTOMER,
    ),
    Kind(
        "calendar_invitation",
        calendar_invitation,
        "C3: a meeting has no company; B is current, and Ziying may work there; F3; R3",
    ),
    Kind(
        "calendar_reminder",
        calendar_reminder,
        "C3: in force is the cron's A, where Bob may not work: his own company; F2; R3",
        header_from=BOB,
    ),
    Kind(
        "survey_invitation",
        survey_invitation,
        "C3: no document; B is current, and Ziying may work there; F3; R3",
    ),
    Kind(
        "event_confirmation",
        event_confirmation,
        "C1; info@b.com is no user's: never moved, and stays, being in C's Email Domain; R3: the"
        " template has no Reply-To",
        header_from=COMPANY,
    ),
    Kind(
        "website_lead",
        website_lead,
        "C1: the lead is of the website's company; F3 for OdooBot: B's default_from_email; R3",
        header_from=("OdooBot", "notifications@b.com"),
        without_notification="odoobot@b.com",
    ),
    Kind(
        "website_mail",
        website_mail,
        "C4: b.com is B's; info@b.com is no user's; R0: the visitor's address",
        header_from=("B form submission", "info@b.com"),
        reply_to="visitor@example.net",
        given=True,
    ),
    Kind(
        "mailing_on_a_list",
        mailing_on_a_list,
        "C4: news@b.com is no user's, b.com is B's; R0: the mailing's",
        header_from=NEWS,
        reply_to="bob@b.com",
        given=True,
    ),
    Kind(
        "mailing_on_partners",
        mailing_on_partners,
        "C3: in force is the cron's A, where Bob may not work: his own company; F2; R3",
        header_from=BOB,
    ),
    Kind(
        "mailing_with_a_server",
        mailing_with_a_server,
        "C2: the server is B's; F3; R3",
    ),
    Kind(
        "mailing_with_a_reply_to",
        mailing_with_a_reply_to,
        "C4: b.com is B's; R0",
        header_from=NEWS,
        reply_to="offers@b.com",
        given=True,
    ),
    Kind(
        "mailing_test",
        mailing_test,
        "C4: b.com is B's; R3: the mailing has no Reply-To of its own",
        header_from=NEWS,
    ),
    Kind("digest", digest, "C4: info@b.com is no user's, b.com is B's; R3", header_from=COMPANY),
    Kind(
        "mail_group",
        mail_group,
        "C3: a group has no company, in force is the cron's A, Bob's is B; R1: the group's alias",
        header_from=BOB,
        reply_to="friends@b.com",
    ),
    Kind(
        "password_reset",
        password_reset,
        "C1: a user's company is B; info@b.com is no user's; R3: the template has no Reply-To",
        header_from=COMPANY,
    ),
    Kind(
        "user_invitation",
        user_invitation,
        "C1: a user's company is B; info@b.com is no user's; R3: the template has no Reply-To",
        header_from=COMPANY,
    ),
    Kind(
        "portal_invitation",
        portal_invitation,
        "C3: the wizard has no company; B is current, and Ziying may work there; F3; R3",
    ),
    Kind(
        "direct_mail",
        direct_mail,
        "C4: b.com is B's; R3: build_email itself repeats From where no Reply-To is given",
        header_from=NEWS,
    ),
)
