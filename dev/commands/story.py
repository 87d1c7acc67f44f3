# SPDX-License-Identifier: LGPL-3.0-only
"""The demo's story: a quotation, a strict provider, an answer that finds its way home.

The story is told once. Who acts in it, an *office*, is Odoo with the addon (:mod:`.demo`), or,
where Odoo cannot be had, the decision alone (:class:`PlainOffice`); the provider and the sockets
are the same.
"""

from __future__ import annotations

import imaplib
import itertools
import smtplib
from collections.abc import Callable
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import make_msgid

from rich import box
from rich.console import Console
from rich.table import Table

from dev.provider import Mail, Provider
from dev.shared import say
from routing import Company, Draft, Facts, Server, Settings, decide, parse_mailbox

DOMAIN = "odoomommy.com"
LOGIN = f"kevin@{DOMAIN}"
AUTHOR = ("韩菱纱", f"lingsha.han@{DOMAIN}")
CUSTOMER = "customer@example.net"
PASSWORD = "demo"
OTHER_PROVIDERS = {"netease": "NetEase", "postfix": "Postfix", "office365": "Office 365"}


@dataclass
class Row:
    """One line of the table; empty: not part of this step."""

    step: str
    mail_from: str = ""
    header_from: str = ""
    reply_to: str = ""
    answer: str = ""
    landed: str = ""


def new_provider(rule: str = "tencent", **options: object) -> Provider:
    """Make the provider of the story, not started: Kevin, Lingsha and the customer."""
    accounts = dict.fromkeys((LOGIN, AUTHOR[1], CUSTOMER), PASSWORD)
    return Provider(accounts, rule, **options)


def tell(office: PlainOffice, provider: Provider) -> list[Row]:
    """Play the story.

    :param office: whoever sends the quotation and fetches the answer
    :param provider: a started one, with IMAP
    :return: the table's rows
    :raises AssertionError: when something does not happen as told
    """
    rows = []
    numbers = itertools.count(1)

    def step(at: Provider, title: str, act: Callable[[], object]) -> object:
        title = f"{next(numbers)}  {title}"
        say(title)
        accepted, refused = len(at.mails), len(at.refusals)
        result = act()
        for mail in at.mails[accepted:]:
            rows.append(_sent(title, mail))
        for refusal in at.refusals[refused:]:
            rows.append(Row(title, refusal.mail_from, refusal.header_from, "", refusal.reply))
        return result

    # the domain has a catch-all, so far
    provider.set_catch_all(DOMAIN, LOGIN)
    office.set_up(restrict_username=False, catch_all=True)
    quotation = step(provider, "Native Odoo sends a quotation", office.send_quotation)
    assert provider.refusals and not provider.mails, "the provider let a stranger send"

    office.set_up(restrict_username=True, catch_all=True)
    step(provider, "Restrict Username on, retried", office.retry)
    _tell_answer(office, provider, quotation, rows, next(numbers))

    provider.set_catch_all(DOMAIN, None)
    office.set_up(restrict_username=True, catch_all=False)
    quotation = step(provider, "Catch All off, one mailbox", office.send_quotation)
    _tell_answer(office, provider, quotation, rows, next(numbers))

    for rule, name in OTHER_PROVIDERS.items():
        with new_provider(rule) as other:
            other.set_catch_all(DOMAIN, LOGIN)
            office.use_provider(other)
            office.set_up(restrict_username=False, catch_all=True)
            step(other, f"Native Odoo at {name}", office.send_quotation)
            assert not other.mails, f"{name} let a stranger send"
            office.set_up(restrict_username=True, catch_all=True)
            step(other, f"Restrict Username at {name}", office.retry)
            assert other.mails, f"{name} refused: {other.refusals}"
    office.use_provider(provider)
    office.set_up(restrict_username=True, catch_all=False)
    return rows


def _tell_answer(office, provider, quotation, rows, number) -> None:
    """The customer answers the last mail; Odoo fetches."""
    title = f"{number}  The customer answers, Odoo fetches"
    say(title)
    answer_last(provider)
    row = _sent(title, provider.mails[-1])
    rows.append(replace(row, reply_to="", landed=office.fetch(quotation)))


def answer_last(provider: Provider) -> None:
    """Let the customer answer the last mail that he got."""
    (received,) = provider.mailbox(CUSTOMER)[-1:]
    question = message_from_bytes(received, policy=policy.default)
    answer = EmailMessage()
    answer["From"] = f"Customer <{CUSTOMER}>"
    answer["To"] = str(question["Reply-To"])
    answer["Subject"] = f"Re: {question['Subject']}"
    answer["Message-ID"] = make_msgid(domain="example.net")
    answer["In-Reply-To"] = answer["References"] = str(question["Message-ID"])
    answer.set_content("We agree.")
    to = parse_mailbox(str(question["Reply-To"])).address
    provider.send_from(CUSTOMER, CUSTOMER, [to], answer)


def _sent(title: str, mail: Mail) -> Row:
    name, address = mail.from_name, mail.header_from
    return Row(
        title,
        mail.mail_from,
        f"{name} <{address}>" if name else address,
        mail.reply_to,
        f"250 accepted, to {', '.join(mail.rcpt_tos)}",
    )


class PlainOffice:
    """The decision alone: it routes a mail, sends it by SMTP and looks into the mailbox."""

    def __init__(self, provider: Provider):
        self.mailbox = provider
        self.use_provider(provider)
        self.waiting: EmailMessage | None = None
        self.number = 0

    def use_provider(self, provider):
        """Send through this provider from now on."""
        self.provider = provider

    def set_up(self, *, restrict_username, catch_all):
        """Set General Settings."""
        self.facts = Facts(
            settings=Settings(
                catch_all=catch_all,
                restrict_username=restrict_username,
                catchall_domain=DOMAIN,
                catchall_alias="catchall",
                bounce_alias="bounce",
                notification=f"notifications@{DOMAIN}",
            ),
            companies=[Company(1, "Qingdao Ohm", mailbox=LOGIN)],
            servers=[
                Server(1, "Ohm SMTP", sender_address=LOGIN, has_username=True, from_filter=DOMAIN)
            ],
        )

    def send_quotation(self):
        """Write a new quotation and send it; give its name."""
        self.number += 1
        message = EmailMessage(policy=policy.SMTP)
        message["To"] = CUSTOMER
        message["Subject"] = f"Mail {self.number}"
        message["Message-ID"] = make_msgid(domain=DOMAIN)
        message.set_content("Please find our offer.")
        self.waiting = message
        self.retry()
        return f"mail {self.number}"

    def retry(self):
        """Send what was refused once more."""
        message = self.waiting
        route = decide(Draft("{} <{}>".format(*AUTHOR), company_id=1), self.facts)
        for header in ("From", "Reply-To", "Return-Path"):
            del message[header]
        message["From"] = route.from_header()
        message["Reply-To"] = route.reply_to
        message["Return-Path"] = route.return_path
        with smtplib.SMTP(self.provider.smtp_host, self.provider.smtp_port, timeout=10) as smtp:
            smtp.login(LOGIN, PASSWORD)
            try:
                smtp.send_message(message, route.mail_from, [CUSTOMER])
            except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused):
                return  # the provider's words stand in its own record

    def fetch(self, quotation):
        """Fetch the mailbox; say where the answer to the quotation landed."""
        with imaplib.IMAP4(self.mailbox.imap_host, self.mailbox.imap_port) as imap:
            imap.login(LOGIN, PASSWORD)
            imap.select()
            _result, (numbers,) = imap.search(None, "(UNSEEN)")
            for number in numbers.split():
                _result, data = imap.fetch(number, "(RFC822)")
                answer = message_from_bytes(data[0][1], policy=policy.default)
                if str(answer["In-Reply-To"]) == str(self.waiting["Message-ID"]):
                    return f"mailbox {LOGIN}, answer to {quotation}"
        raise AssertionError("the answer did not arrive")


def show(rows: list[Row]) -> None:
    """Print the story as a table; long cells are wrapped."""
    table = Table(box=box.SIMPLE_HEAD)
    columns = (
        ("step", "Step", 25),
        ("mail_from", "MAIL FROM", 21),
        ("header_from", "From", 32),
        ("reply_to", "Reply-To", 23),
        ("answer", "Provider's answer", 34),
        ("landed", "Answer landed", 24),
    )
    for _key, title, width in columns:
        table.add_column(title, width=width, overflow="fold")
    for row in rows:
        table.add_row(*(getattr(row, key) or "–" for key, _title, _width in columns))
    Console(width=180, markup=False, emoji=False, highlight=False).print(table)
