# SPDX-License-Identifier: LGPL-3.0-only
from odoo import api, fields, models
from odoo.tools import sql, ustr

from .delivery import Delivery

#: the fields of the route, which are the administrator's to see
ROUTE_FIELDS = ("sent_server_id", "sent_server_name", "sent_mail_from", "sent_header_from")

#: the states of a mail and of a notification in which something may help
FAILED = ("exception", "bounce")


class Remembered(fields.Many2one):
    """A link that the database does not watch: what it points at may be gone.

    A foreign key would let a write fail, and with it the whole run of the queue, because somebody
    deletes the server meanwhile; and the mail has left by then. ``read`` and ``read_group`` give a
    link to a record that is gone as empty; in code, ask the record whether it ``exists()``.
    """

    # lists show the name that is kept beside it; an export would fail on a deleted record
    exportable = False
    _description_sortable = False

    def update_db_foreign_key(self, model, column):
        """Drop the key that earlier versions made; native's own hook would make it."""
        cr = model.env.cr
        cr.execute(
            """
            SELECT c.conname FROM pg_constraint c
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            WHERE c.contype = 'f' AND c.conrelid = %s::regclass AND a.attname = %s
            """,
            [model._table, self.name],
        )
        for (name,) in cr.fetchall():
            sql.drop_constraint(cr, model._table, name)
            model.env["ir.model.constraint"].search([("name", "=", name)]).unlink()


class MailSentRoute(models.AbstractModel):
    """A record that keeps the route its mail was sent by: a mail, and each of its notifications.

    The mail itself may be deleted once it is sent; the notification of the recipient stays. The
    route is written along with the status, in native's own ``UPDATE``, so it costs no query; and
    it holds nothing that differs from author to author, so mails that native writes in one
    ``UPDATE`` still are. From differs; it is kept where each mail is written on its own, or all of
    a batch have the same.

    A model that inherits this mixin names its status in ``_sent_status``. What is being sent
    stands in the context: ``mail_delivery``, a :class:`~.delivery.Delivery`.
    """

    _name = "mail.sent.route"
    _description = "Route of a Sent Mail"

    #: name of the field that tells what became of the mail
    _sent_status = ""

    # no prefetch: reading the status reads no more columns than before
    sent_server_id = Remembered(
        "ir.mail_server",
        string="Sent by Server",
        copy=False,
        readonly=True,
        prefetch=False,
        groups="base.group_system",
    )
    sent_server_name = fields.Char(
        string="Sent by",
        copy=False,
        readonly=True,
        prefetch=False,
        groups="base.group_system",
        help="The name that the outgoing server had when it was given this mail",
    )
    sent_mail_from = fields.Char(
        string="MAIL FROM",
        copy=False,
        readonly=True,
        prefetch=False,
        groups="base.group_system",
        help="The envelope sender that the mail was given to the server with",
    )

    # may be an address of any company: only Sent Mails shows it, to users who may read the mail
    sent_header_from = fields.Char(
        string="Sent From",
        copy=False,
        readonly=True,
        prefetch=False,
        groups=fields.NO_ACCESS,
        help="The sender that the recipient saw, where that was kept",
    )

    failure_help = fields.Text(
        string="What Helps",
        compute="_compute_failure_help",
        help="In your language, where the failure was kept in another one",
    )

    @api.depends(lambda self: (self._sent_status, "failure_reason") if self._sent_status else ())
    @api.depends_context("lang", "uid")
    def _compute_failure_help(self):
        self.failure_help = False
        if not self.check_access_rights("read", raise_exception=False):
            return
        failed = self.filtered(lambda record: record[record._sent_status] in FAILED)
        # sudo: only administrators may see the server, but anybody what helps
        kept = failed.sudo()
        # both at once: neither is read along with other fields
        kept.filtered("id").read(["sent_server_id", "sent_mail_from"], load=None)
        cures = self.env["mail.failure"]._cures_of(
            (record.failure_reason, record.sent_server_id, record.sent_mail_from) for record in kept
        )
        for record, cure in zip(failed, cures, strict=True):
            record.failure_help = cure

    def write(self, vals):
        if vals.get("failure_reason"):
            vals = {**vals, "failure_reason": storable(vals["failure_reason"])}
        delivery = Delivery.of(self.env)
        settled = vals.get(self._sent_status) in ("sent", "exception")
        kept = delivery.kept() if delivery and settled else {}
        if not kept:
            return super().write(vals)
        if self.env.su:
            return super().write({**vals, **kept})
        result = super().write(vals)
        # sudo: anybody may send, but only administrators may see the login
        super(MailSentRoute, self.sudo()).write(kept)
        return result

    # ------------------------------------------------------------
    # Reading: Odoo checks a field's groups where it is read, not where it is counted or searched
    # ------------------------------------------------------------

    @api.model
    def _check_route_access(self, *asked):
        """Check that the user may see the fields of the route, if any is asked for.

        :param asked: names of fields, or texts with them, such as ``x:max(sent_mail_from)``
        :raises AccessError: the user may not
        """
        names = [name for name in ROUTE_FIELDS if any(name in str(text) for text in asked)]
        if names and not self.env.su:
            self.check_field_access_rights("read", names)

    @api.model
    def _read_group_raw(self, domain, fields, groupby, *args, **kwargs):
        groups = [groupby] if isinstance(groupby, str) else groupby
        self._check_route_access(*fields, *groups)
        return super()._read_group_raw(domain, fields, groupby, *args, **kwargs)

    @api.model
    def _read_group_resolve_many2x_fields(self, data, fields):
        """Name no server that is gone: Odoo would fail on it."""
        known = {
            row["sent_server_id"] for row in data if isinstance(row.get("sent_server_id"), int)
        }
        # sudo: as native, which names them next
        gone = known - set(self.env["ir.mail_server"].sudo().browse(known).exists().ids)
        for row in data:
            if row.get("sent_server_id") in gone:
                row["sent_server_id"] = None
        return super()._read_group_resolve_many2x_fields(data, fields)

    @api.model
    def _search(self, args, *arguments, **kwargs):
        self._check_route_access(*(leaf[0] for leaf in args if isinstance(leaf, list | tuple)))
        return super()._search(args, *arguments, **kwargs)

    @api.model
    def _generate_order_by(self, order_spec, query):
        self._check_route_access(order_spec or "")
        return super()._generate_order_by(order_spec, query)

    def onchange(self, values, field_name, field_onchange):
        """Check access: Odoo would name any record that is put into a form, to anybody."""
        self._check_route_access(*values, *field_onchange)
        return super().onchange(values, field_name, field_onchange)


def storable(reason):
    """Give the words of a failure, without what PostgreSQL cannot keep.

    :param reason: text, or the exception itself, as native writes it
    """
    return ustr(reason).replace("\0", "").encode("utf-8", "replace").decode("utf-8")
