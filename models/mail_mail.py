import ast
from collections import defaultdict

from odoo import models
from odoo.tools import split_every

from ..routing import Draft, ascii_address, parse_mailbox


class MailMail(models.Model):
    _inherit = "mail.mail"

    def send(self, auto_commit=False, raise_exception=False):
        """Send by the decided routes: one session for each server and batch."""
        if not self.env["mail.routing"]._is_active():
            return super().send(auto_commit=auto_commit, raise_exception=raise_exception)
        for mails in self._split_by_route():
            super(MailMail, mails).send(auto_commit=auto_commit, raise_exception=raise_exception)
        return True

    def _split_by_route(self):
        """Give the mails in groups that share a server, each with its routes in the context.

        Grouped before a session is opened, so that nobody chooses a server twice.
        """
        routes = self._decide_routes()
        by_server = defaultdict(list)
        for mail_id, (_message_id, route) in routes.items():
            by_server[route.server.id].append(mail_id)
        batch_size = int(
            self.env["ir.config_parameter"].sudo().get_param("mail.session.batch.size", 1000)
        )
        for server_id, mail_ids in by_server.items():
            for batch_ids in split_every(batch_size, mail_ids):
                yield self.browse(batch_ids).with_context(
                    mail_routes={routes[mail_id][0]: routes[mail_id][1] for mail_id in batch_ids},
                    mail_route_server_id=server_id or False,
                )

    def _decide_routes(self):
        """Give mail id -> (Message-Id, route); mails that are alike share one decision."""
        routing = self.env["mail.routing"]
        decided = {}
        routes = {}
        for values in self.read(
            ["email_from", "headers", "mail_server_id", "message_id", "reply_to"]
        ):
            draft = self._routing_draft(values)
            if draft not in decided:
                decided[draft] = routing._decide(draft)
            routes[values["id"]] = values["message_id"], decided[draft]
        return routes

    def _routing_draft(self, values) -> Draft:
        """Read the draft of a mail.

        :param values: of the mail, as ``read`` gives them
        """
        server = values["mail_server_id"]
        return Draft(
            email_from=values["email_from"] or "",
            company_id=self.env.company.id,
            server=self.env["ir.mail_server"]._server_fact(server[0]) if server else None,
            reply_to=parse_mailbox(values["reply_to"] or "").address,
            return_path=_return_path(values["headers"]),
        )

    def _split_by_mail_configuration(self):
        """The mails of one server, as ``send`` hands them over, are one session's."""
        server_id = self.env.context.get("mail_route_server_id")
        if server_id is None:
            yield from super()._split_by_mail_configuration()
        else:
            yield server_id, False, self.ids


def _return_path(headers):
    """Give the Return-Path that the caller put into ``mail.mail.headers``, ``""`` without one."""
    if not headers or "return-path" not in headers.lower():
        return ""
    try:
        values = ast.literal_eval(headers)
    except (ValueError, SyntaxError):
        return ""  # native ignores such headers as well
    found = [str(value) for key, value in values.items() if key.lower() == "return-path"]
    return ascii_address(found[0]) if found else ""
