# SPDX-License-Identifier: LGPL-3.0-only
"""Whose mail is it? The company of a mail that leaves, and the colleague who wrote it."""

from collections.abc import Iterable

from .addresses import domain_of
from .facts import Facts, Server, User


def author_of(users: Iterable[User], partner_id: int | None, company_id: int | None) -> User | None:
    """Choose among the internal users who have the address in From.

    :param users: all of them, in a fixed order
    :param partner_id: the author of the message
    :param company_id: the company in question
    :return: the author of the message, else one who may work in that company, else the first;
        None where nobody has the address
    """
    users = list(users)
    return next(
        (
            user
            for choose in (
                lambda user: user.partner_id == partner_id,
                lambda user: user.may_work_in(company_id),
                lambda user: True,
            )
            for user in users
            if choose(user)
        ),
        None,
    )


def company_of_mail(
    facts: Facts,
    *,
    document_company_id: int | None = None,
    server: Server | None = None,
    address: str = "",
    users: Iterable[User] = (),
    partner_id: int | None = None,
    current_company_id: int | None = None,
) -> tuple[int | None, str]:
    """Decide the company of a mail when it is written.

    :param document_company_id: of the document that it is about
    :param server: one that is named on the mail, its message or its template
    :param address: the address in From
    :param users: the internal users who have that address
    :param partner_id: the author of the message
    :param current_company_id: the company in force
    :return: the company's id, and the rule that named it: ``company_document``,
        ``company_server``, ``company_author``, ``company_domain`` or ``company_current``
    """
    if document_company_id:
        return document_company_id, "company_document"
    if server and server.company_id:
        return server.company_id, "company_server"
    user = author_of(users, partner_id, current_company_id)
    if user:
        at_work = user.may_work_in(current_company_id)
        return current_company_id if at_work else user.company_id, "company_author"
    owner = facts.owner_of(domain_of(address))
    if owner:
        return owner.id, "company_domain"
    return current_company_id, "company_current"
