# SPDX-License-Identifier: LGPL-3.0-only
"""Five hundred answers, on Postfix and Dovecot."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from office import COMPANIES, CUSTOMERS, LOGINS, PROTOCOLS

ANSWERS = 500
#: how each company's mailbox is fetched; native has A's alone, and uses both protocols for it
FETCHED_BY = {"A": "imap", "B": "pop", "C": "imap"}


@dataclass
class Figures:
    """What a number of mails took: seconds, those of them that Odoo computed (which other work
    on the machine does not lengthen), and SQL queries of all cursors of this thread."""

    mails: int
    seconds: float = 0.0
    computing: float = 0.0
    queries: int = 0

    @contextmanager
    def measured(self):
        """Add what happens meanwhile."""
        thread = threading.current_thread()
        gc.collect()
        # Odoo counts where these exist
        thread.query_count = thread.query_time = 0
        start, computed = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
            self.computing += time.process_time() - computed
            self.queries += thread.query_count
            del thread.query_count, thread.query_time

    def row(self, side, what):
        """Give the line of the table."""
        each = (1000 * self.seconds, 1000 * self.computing, self.queries)
        cells = "".join(f"{figure / self.mails:9.1f}" for figure in each)
        return f"{side:<8}{what:<28}{self.mails:6}{self.seconds:9.1f}{cells}"


def test_500_answers_of_50_customers(office, native, server, tell):
    """All on their own document, none twice, in three mailboxes; native beside it, in one."""
    titles = "".join(f"{title:>9}" for title in ("seconds", "ms/mail", "CPU ms", "SQL/mail"))
    rows = [f"{'side':<8}{'step':<28}{'mails':>6}{titles}"]
    with quiet(native), quiet(office):
        play_native(native, rows)
        server.clear()
        play(office, rows)
    tell(*rows)


def play_native(native, rows):
    orders = send_quotations(native, "A" * ANSWERS, rows, "native")
    questions = received(native, orders)
    total = Figures(0)
    for protocol in PROTOCOLS:
        part = [
            question
            for number, question in enumerate(questions)
            if FETCHED_BY[COMPANIES[number % 3]] == protocol
        ]
        native.server.clear()
        answer(native, part)
        add(total, fetch(native, "A", protocol, len(part), rows, "native"))
    rows.append(total.row("native", "fetch, all"))
    assert_all_came_home(native, orders)


def play(office, rows):
    companies = [COMPANIES[number % 3] for number in range(ANSWERS)]
    orders = send_quotations(office, companies, rows, "addon")
    answer(office, received(office, orders))
    total = Figures(0)
    for company, count in sorted(Counter(companies).items()):
        part = fetch(office, company, FETCHED_BY[company], count, rows, "addon")
        add(total, part)
    rows.append(total.row("addon", "fetch, all"))
    assert_all_came_home(office, orders)
    # what IMAP left in the mailboxes comes again, by POP3
    left = sum(len(office.server.mailbox(login)) for login in LOGINS.values())
    assert left == sum(FETCHED_BY[company] == "imap" for company in companies)
    office.fetch("pop")
    assert not any(office.server.mailbox(login) for login in LOGINS.values())
    assert_all_came_home(office, orders)
    assert not office.unprocessed()


# -- steps ------------------------------------------------------------------------------------


@contextmanager
def quiet(office):
    """Let the salesperson read the answers in Odoo: what is measured is fetching alone."""
    with office.changed("res.users", office.user_id, notification_type="inbox"):
        yield


def send_quotations(office, companies, rows, side):
    """Send a quotation of each of these companies, to one customer after the other.

    :return: the orders' companies, customers and ids by their names
    """
    orders = {}
    for company in sorted(set(companies)):
        numbers = [number for number, name in enumerate(companies) if name == company]
        with office.environment(company) as env:
            partners = {address: office.customer(env, address) for address in CUSTOMERS}
            addresses = [CUSTOMERS[number % len(CUSTOMERS)] for number in numbers]
            for address, order in zip(
                addresses,
                env["sale.order"].create([office.quotation_of(partners[a]) for a in addresses]),
                strict=True,
            ):
                subject = f"{company} {order.name}"
                order.message_post(
                    subject=subject,
                    body=subject,
                    partner_ids=order.partner_id.ids,
                    message_type="comment",
                    subtype_xmlid="mail.mt_comment",
                    force_send=False,
                )
                orders[subject] = (company, address, order.id)
    assert len(orders) == len(companies)
    figures = Figures(len(orders))
    with figures.measured(), office.environment() as env:
        env["mail.mail"].process_email_queue()
    rows.append(figures.row(side, "send, the queue"))
    office.server.queue_empty(60)
    return orders


def received(office, orders):
    """Give what the customers got, each its own."""
    wanted = Counter(address for _company, address, _id in orders.values())
    questions = [
        question
        for address, count in wanted.items()
        for question in office.received(address, count)
    ]
    assert sorted(str(question["Subject"]) for question in questions) == sorted(orders)
    return sorted(questions, key=lambda question: list(orders).index(str(question["Subject"])))


def answer(office, questions):
    """Let the customers answer, some at the same time."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda question: office.answer(question, question["Subject"]), questions))
    office.server.queue_empty(60)


def fetch(office, company, protocol, count, rows, side):
    """Fetch the mailbox of a company as the cron does, and measure it."""
    login = LOGINS[company]
    assert len(office.server.mailbox(login)) == count
    figures, mailbox = Figures(count), office.incoming[company]
    office.switch(protocol, [mailbox])
    with figures.measured(), office.environment() as env:
        env["fetchmail.server"].browse(mailbox).fetch_mail()
    rows.append(figures.row(side, f"fetch {login}, {PROTOCOLS[protocol]}"))
    return figures


def add(total, figures):
    total.mails += figures.mails
    total.seconds += figures.seconds
    total.computing += figures.computing
    total.queries += figures.queries


def assert_all_came_home(office, orders):
    """Each order has one answer: its own, of its customer; and still its company."""
    by_id = {order_id: subject for subject, (_company, _address, order_id) in orders.items()}
    with office.environment() as env:
        messages = env["mail.message"].search(
            [("message_type", "=", "email"), ("subject", "in", [f"Re: {name}" for name in orders])]
        )
        found = sorted(
            (by_id.get(message.model == "sale.order" and message.res_id), message.author_id.email,
             office.odoo.tools.html2plaintext(message.body).strip())
            for message in messages
        )  # fmt: skip
        expected = sorted(
            (subject, address, subject) for subject, (_c, address, _id) in orders.items()
        )
        assert found == expected
        for company, _address, order_id in orders.values():
            order = env["sale.order"].browse(order_id)
            assert order.company_id.id == office.company_ids[company]
