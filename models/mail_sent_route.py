from odoo import fields, models


class MailSentRoute(models.AbstractModel):
    """A record that keeps the route its mail was sent by: a mail, and each of its notifications.

    The mail itself may be deleted once it is sent; the notification of the recipient stays. The
    route is written along with the status, in native's own ``UPDATE``, so it costs no query; and
    it holds nothing that differs from author to author, so mails that native writes in one
    ``UPDATE`` still are.

    A model that inherits this mixin names its status in ``_sent_status``. What is being sent
    stands in the context: ``mail_sent``, a :class:`~.smtp_session.Sent`.
    """

    _name = "mail.sent.route"
    _description = "Route of a Sent Mail"

    #: name of the field that tells what became of the mail
    _sent_status = ""

    # no prefetch: whoever reads the status asks for no more than he did
    sent_server_id = fields.Many2one(
        "ir.mail_server",
        string="Sent by Server",
        ondelete="set null",
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

    def write(self, vals):
        sent = self.env.context.get("mail_sent")
        if not sent or vals.get(self._sent_status) not in ("sent", "exception"):
            return super().write(vals)
        if self.env.su:
            return super().write({**vals, **sent.values()})
        result = super().write(vals)
        # sudo: the login is the administrator's to see, the mail anybody's to send
        super(MailSentRoute, self.sudo()).write(sent.values())
        return result
