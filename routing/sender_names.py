# SPDX-License-Identifier: LGPL-3.0-only
"""How the customer sees the author where From has to be the login address.

One entry a format; General Settings offers them under the same keys, which a test compares.
"""


def _name_and_address(name: str, address: str, company: str) -> str:
    return f"{name} ({address})" if name and address else name or address


def _name(name: str, address: str, company: str) -> str:
    return name or address


def _name_and_company(name: str, address: str, company: str) -> str:
    return f"{name or address} via {company}" if company else name or address


#: format -> function of the author's name, address and company's name, each ``""`` where
#: it is unknown, that gives the name in From; in the order in which they are offered
SENDER_NAME_FORMATS = {
    "name_address": _name_and_address,
    "name": _name,
    "name_company": _name_and_company,
}

DEFAULT_SENDER_NAME_FORMAT = "name_address"
