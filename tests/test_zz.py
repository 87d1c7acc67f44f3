from odoo.tests import tagged
from .common import MailRoutingCase
import logging
@tagged("post_install", "-at_install")
class TestZ(MailRoutingCase):
    def test_z(self):
        provider = self.provider()
        server = self.mail_server(provider, sender_policy="login")
        out=open("/tmp/wtq_dbg","w")
        print(self.env["mail.lane"]._retry_hours(), self.env["mail.routing"]._is_active(), file=out)
        print([c.__module__ for c in type(self.env["mail.mail"]).mro()], file=out)
        mail = self.mail()
        provider.fail("mail", "451")
        mail.send()
        print(mail.state, mail.failure_reason, mail.tries, mail.next_try, file=out)
        mail = self.mail()
        provider.stop()
        mail.send()
        print(mail.state, mail.failure_reason, mail.tries, mail.next_try, server.paused_until, server.pause_reason, mail.waiting_reason, file=out)
        out.close()
