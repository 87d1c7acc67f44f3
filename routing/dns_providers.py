# SPDX-License-Identifier: LGPL-3.0-only
"""How DNS shows a known provider: in the records of a domain that sends by it, or receives there.

Only what was confirmed is here; ``docs/deliverability.md`` and ``docs/providers.md`` say where it
was seen. A provider that has changed meanwhile costs a finding of the check-up, or an offer in Set
Up a Mailbox: nothing here decides how a mail leaves.
"""

import re
from dataclasses import dataclass


def _(name: str) -> str:
    """Mark a name for the extraction of translatable terms."""
    return name


@dataclass(frozen=True)
class Selector:
    """Where a provider's DKIM key stands: ``<name>._domainkey.<domain>``.

    :param name: the selector
    :param chosen: whether it is only the one that the provider suggests: a domain may have another
    :param cname: whether it leads to a key that the provider keeps (CNAME), not to the key (TXT)
    """

    name: str
    chosen: bool = False
    cname: bool = False


@dataclass(frozen=True)
class DnsProvider:
    """A provider, as DNS knows it.

    :param name: in English
    :param smtp_host: the one by which its customers send
    :param hosts: what its SMTP, IMAP and POP hosts end in
    :param domains: in which everybody can have a mailbox there
    :param spf: the names under which its sending hosts are listed; the first is what to include
    :param spf_all: how the provider ends the record
    :param mx: matches the names of the hosts that take its customers' mail
    :param selectors: where its DKIM keys stand, none where that is not known
    :param authserv: what the names end in by which it signs Authentication-Results
    :param authserv_nameless: whether it writes Authentication-Results without such a name
    """

    name: str
    smtp_host: str
    hosts: tuple[str, ...]
    domains: tuple[str, ...] = ()
    spf: tuple[str, ...] = ()
    spf_all: str = "~all"
    mx: str = ""
    selectors: tuple[Selector, ...] = ()
    authserv: tuple[str, ...] = ()
    authserv_nameless: bool = False

    def has_mx(self, host: str) -> bool:
        """Tell whether a host that takes mail is the provider's."""
        return bool(self.mx) and bool(re.fullmatch(self.mx, host.rstrip(".").lower()))


PROVIDERS = (
    DnsProvider(
        _("Tencent Exmail"),
        smtp_host="smtp.exmail.qq.com",
        hosts=("exmail.qq.com",),
        spf=("spf.mail.qq.com",),
        mx=r"mxbiz\d\.qq\.com",
        authserv=("mx.qq.com",),
    ),
    DnsProvider(
        _("NetEase Enterprise Mail"),
        smtp_host="smtp.qiye.163.com",
        hosts=("qiye.163.com",),
        spf=("spf.163.com", "spf.qiye.163.com"),
        spf_all="-all",
        mx=r"(qiye163mx|(xc)?hzmx)\d+[^.]*\.mxmail\.netease\.com",
    ),
    DnsProvider(
        _("Aliyun Enterprise Mail"),
        smtp_host="smtp.qiye.aliyun.com",
        hosts=("qiye.aliyun.com",),
        spf=("spf.qiye.aliyun.com", "spf.em.dingtalk.com"),
        spf_all="-all",
        mx=r"mx\d?\.qiye\.aliyun\.com|mx[nw]\.mxhichina\.com",
    ),
    DnsProvider(
        _("Office 365"),
        smtp_host="smtp.office365.com",
        hosts=("office365.com", "smtp.outlook.com", "imap.outlook.com"),
        domains=("outlook.com", "hotmail.com", "live.com", "msn.com"),
        spf=("spf.protection.outlook.com",),
        spf_all="-all",
        mx=r".+\.mail\.protection\.outlook\.com|.+\.mx\.microsoft",
        selectors=(Selector("selector1", cname=True), Selector("selector2", cname=True)),
        authserv_nameless=True,
    ),
    DnsProvider(
        _("Gmail"),
        smtp_host="smtp.gmail.com",
        hosts=("gmail.com", "smtp-relay.gmail.com"),
        domains=("gmail.com", "googlemail.com"),
        spf=("_spf.google.com",),
        mx=r"(.+\.)?(google|googlemail)\.com",
        selectors=(Selector("google", chosen=True),),
        authserv=("mx.google.com",),
    ),
    DnsProvider(
        _("Zoho"),
        smtp_host="smtp.zoho.com",
        hosts=("smtp.zoho.com", "smtppro.zoho.com", "imap.zoho.com", "imappro.zoho.com"),
        domains=("zoho.com",),
        spf=("zohomail.com", "zoho.com"),
        mx=r"mx\d?\.zoho\.com",
        selectors=(Selector("zmail", chosen=True),),
        authserv=("mx.zohomail.com",),
    ),
    DnsProvider(
        _("Yandex"),
        smtp_host="smtp.yandex.com",
        hosts=("yandex.com", "yandex.ru"),
        domains=("yandex.com", "yandex.ru"),
        spf=("_spf.yandex.net",),
        mx=r"mx\.yandex\.(net|ru)",
        selectors=(Selector("mail"),),
        authserv=("yandex.net",),
    ),
)


def is_below(name: str, parent: str) -> bool:
    """Tell whether a host name is a domain, or in it."""
    name, parent = name.rstrip(".").lower(), parent.lower()
    return name == parent or name.endswith(f".{parent}")


def provider_at(host: str) -> DnsProvider | None:
    """Give the provider that a host for sending or fetching belongs to, None where unknown."""
    for provider in PROVIDERS:
        if any(is_below(host or "", end) for end in provider.hosts):
            return provider
    return None


def provider_of_mx(host: str) -> DnsProvider | None:
    """Give the provider that takes mail at a host, None where unknown."""
    return next((provider for provider in PROVIDERS if provider.has_mx(host)), None)
