# SPDX-License-Identifier: LGPL-3.0-only
"""Which mail exchangers and domains belong to a provider that the presets know.

A provider goes by its SMTP host. An MX record is no proof, as mail may be forwarded elsewhere: it
makes an offer, which is tried. Where each was seen: docs/providers.md.
"""

import re

#: SMTP host of a provider -> its mail exchangers, and the domains in which everybody can have a
#: mailbox there. NetEase's free mailboxes have exchangers beside those of its enterprise mail.
PROVIDERS = {
    "smtp.exmail.qq.com": (r"mxbiz\d\.qq\.com", ()),
    "smtp.qq.com": (None, ("qq.com", "vip.qq.com", "foxmail.com")),
    "smtp.163.com": (None, ("163.com",)),
    "smtp.qiye.163.com": (r"(qiye163mx|hzmx)\d+\.mxmail\.netease\.com", ()),
    "smtp.qiye.aliyun.com": (r"mx\d?\.qiye\.aliyun\.com|mx[nw]\.mxhichina\.com", ()),
    "smtp.office365.com": (
        r".+\.mail\.protection\.outlook\.com|.+\.mx\.microsoft",
        ("outlook.com", "hotmail.com", "live.com", "msn.com"),
    ),
    "smtp.gmail.com": (r"(.+\.)?google(mail)?\.com", ("gmail.com", "googlemail.com")),
    "smtp.zoho.com": (r"mx\d?\.zoho\.com", ("zoho.com",)),
    "smtp.yandex.com": (r"mx\.yandex\.(net|ru)", ("yandex.com", "yandex.ru")),
}


def of_exchanger(host: str) -> str | None:
    """Give the SMTP host of the provider that a mail exchanger belongs to."""
    host = host.rstrip(".").lower()
    for smtp_host, (pattern, _domains) in PROVIDERS.items():
        if pattern and re.fullmatch(pattern, host):
            return smtp_host
    return None


def of_domain(domain: str) -> str | None:
    """Give the SMTP host of the provider that gives everybody a mailbox in a domain."""
    for smtp_host, (_pattern, domains) in PROVIDERS.items():
        if domain.lower() in domains:
            return smtp_host
    return None
