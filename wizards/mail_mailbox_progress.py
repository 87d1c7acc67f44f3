# SPDX-License-Identifier: LGPL-3.0-only
"""How far Set Up a Mailbox is: its steps, and what the browser is told of them meanwhile."""

from markupsafe import Markup

from odoo import fields, models

#: state of a step -> its icon
ICONS = {
    "waiting": "circle-o text-muted",
    "running": "circle-o-notch fa-spin text-primary",
    "done": "check text-success",
    "failed": "times text-danger",
    "told": "reply text-muted",
}


def step_of(title, state="waiting", **values):
    """A step of a trial; ``words`` are the server's, ``cure`` is what helps."""
    return {
        "title": title,
        "state": state,
        "icon": ICONS[state],
        "words": "",
        "cure": "",
        **values,
    }


def line_of(step):
    """A step and how it went."""
    words, cure = step["words"], step["cure"]
    return Markup("<li><i class='fa fa-fw fa-%s me-2'></i>%s%s%s</li>") % (
        step["icon"],
        step["title"],
        Markup("<div class='text-muted ms-4'>%s</div>") % words if words else "",
        Markup("<div class='ms-4'><b>%s</b></div>") % cure if cure else "",
    )


class MailMailboxProgress(models.TransientModel):
    """How far a wizard is that is at work; committed while it is, and gone when it is done."""

    _name = "mail.mailbox.progress"
    _description = "Progress of Setting Up a Mailbox"

    setup_id = fields.Many2one("mail.mailbox.setup", required=True, index=True, ondelete="cascade")
    steps = fields.Text(help="The steps, as JSON")
