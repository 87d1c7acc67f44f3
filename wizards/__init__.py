from . import mail_alias_move
from . import mail_checkup
from . import mail_compose_message
from . import mail_mailbox_setup
from . import mail_resend_message
from . import mail_route_explain
from . import mail_wizard_invite
