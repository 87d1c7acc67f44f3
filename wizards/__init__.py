# SPDX-License-Identifier: LGPL-3.0-only
from . import mail_alias_move
from . import mail_checkup
from . import mail_checkup_dns
from . import mail_compose_message
from . import mail_mailbox_progress
from . import mail_mailbox_setup
from . import mail_mailbox_guess
from . import mail_mailbox_oauth
from . import mail_mailbox_plan
from . import mail_mailbox_records
from . import mail_resend_message
from . import mail_route_explain
from . import mail_routing_start
from . import mail_unprocessed_choose
from . import mail_wizard_invite
