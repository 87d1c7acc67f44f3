# SPDX-License-Identifier: LGPL-3.0-only
"""Addresses, what the Internet says of their domains, and who their provider is.

Names of exchangers are those of docs/providers.md, or below a domain of Thunderbird's database;
domains are invented where they are not the provider's own. ``None``: it cannot be known, and a
guess would be wrong.
"""

TENCENT, NETEASE, ALIYUN = "smtp.exmail.qq.com", "smtp.qiye.163.com", "smtp.qiye.aliyun.com"
OFFICE, GOOGLE, ZOHO, YANDEX = (
    "smtp.office365.com",
    "smtp.gmail.com",
    "smtp.zoho.com",
    "smtp.yandex.com",
)

#: everybody's domains -> SMTP host
FREE = {
    "kim@qq.com": "smtp.qq.com",
    "12345@vip.qq.com": "smtp.qq.com",
    "kim@foxmail.com": "smtp.qq.com",
    "kim@163.com": "smtp.163.com",
    "kim@gmail.com": GOOGLE,
    "kim@googlemail.com": GOOGLE,
    "Kim@Outlook.com": OFFICE,
    "kim@hotmail.com": OFFICE,
    "kim@live.com": OFFICE,
    "kim@msn.com": OFFICE,
    "kim@yandex.com": YANDEX,
    "kim@yandex.ru": YANDEX,
    "kim@zoho.com": ZOHO,
}

#: domain -> (its exchangers, SMTP host)
BY_MX = {
    "ohm.example.cn": ([(5, "mxbiz1.qq.com"), (10, "mxbiz2.qq.com")], TENCENT),
    "qingdao-ohm.com": ([(5, "MXBIZ1.QQ.COM")], TENCENT),
    "onlytwo.com.cn": ([(10, "mxbiz2.qq.com")], TENCENT),
    "sales.tencent-user.cn": ([(1, "mxbiz1.qq.com"), (1, "mxbiz2.qq.com")], TENCENT),
    "xn--fiqs8s.example.cn": ([(5, "mxbiz1.qq.com")], TENCENT),
    "netease-a.com": (
        [(5, "qiye163mx01.mxmail.netease.com"), (10, "qiye163mx02.mxmail.netease.com")],
        NETEASE,
    ),
    "netease-b.cn": ([(10, "qiye163mx02.mxmail.netease.com")], NETEASE),
    "netease-c.com.cn": (
        [(5, "hzmx01.mxmail.netease.com"), (10, "hzmx02.mxmail.netease.com")],
        NETEASE,
    ),
    "netease-d.com": ([(5, "hzmx02.mxmail.netease.com")], NETEASE),
    "ali-a.com": (
        [(5, "mx1.qiye.aliyun.com"), (10, "mx2.qiye.aliyun.com"), (15, "mx3.qiye.aliyun.com")],
        ALIYUN,
    ),
    "ali-b.cn": ([(5, "mxn.mxhichina.com"), (10, "mxw.mxhichina.com")], ALIYUN),
    "ali-c.com.cn": ([(10, "mxw.mxhichina.com")], ALIYUN),
    "ali-d.com": ([(5, "mx3.qiye.aliyun.com")], ALIYUN),
    "contoso-a.com": ([(0, "contoso-a-com.mail.protection.outlook.com")], OFFICE),
    "contoso-b.de": ([(0, "contoso-b-de.mail.protection.outlook.com")], OFFICE),
    "contoso-c.com": ([(0, "contoso-c-com.d-v1.mx.microsoft")], OFFICE),
    "google-a.com": (
        [(1, "aspmx.l.google.com"), (5, "alt1.aspmx.l.google.com"), (10, "aspmx2.googlemail.com")],
        GOOGLE,
    ),
    "google-b.org": ([(1, "smtp.google.com")], GOOGLE),
    "google-c.com": ([(10, "aspmx3.googlemail.com")], GOOGLE),
    "zoho-a.com": ([(10, "mx.zoho.com"), (20, "mx2.zoho.com"), (50, "mx3.zoho.com")], ZOHO),
    "zoho-b.in": ([(10, "mx2.zoho.com")], ZOHO),
    "yandex-a.ru": ([(10, "mx.yandex.net")], YANDEX),
    "yandex-b.com": ([(10, "MX.yandex.net")], YANDEX),
}

#: domain -> exchangers that are no proof of anything
UNKNOWN = {
    # NetEase's free mailboxes, whose exchangers end as the enterprise's do
    "not-enterprise.com": [(10, "163mx01.mxmail.netease.com")],
    "not-enterprise.cn": [(10, "126mx02.mxmail.netease.com")],
    "not-enterprise.net": [(10, "yeahmx01.mxmail.netease.com")],
    # a filter comes first, and what is behind it is not said
    "filtered.com": [(5, "mx.filter.example"), (10, "aspmx.l.google.com")],
    # names that only look alike
    "phish-a.com": [(5, "mxbiz1.qq.com.attacker.example")],
    "phish-b.com": [(5, "evil-google.com")],
    "phish-c.com": [(5, "mail.protection.outlook.com.attacker.example")],
    "phish-d.com": [(5, "notmxbiz1.qq.com")],
    # two providers, both first
    "two-minds.com": [(5, "mxbiz1.qq.com"), (5, "aspmx.l.google.com")],
    # another provider, of which nobody knows more
    "huawei-a.com": [(5, "mx1.sparkspace.huaweicloud.com")],
    "own-server.com": [(10, "mail.own-server.com")],
    "nothing-at-all.com": [],
    "null-mx.com": [(0, ".")],
}

#: addresses in Thunderbird's database -> SMTP host
DATABASE = {
    "kim@126.com": "smtp.126.com",
    "kim@yeah.net": "smtp.yeah.net",
    "kim@posteo.de": "posteo.de",
    "Kim@Posteo.NET": "posteo.de",
    "kim@gmx.net": "mail.gmx.net",
    "kim@gmx.cn": "mail.gmx.com",
    "kim@web.de": "smtp.web.de",
    "kim@t-online.de": "securesmtp.t-online.de",
    "kim@icloud.com": "smtp.mail.me.com",
    "kim@yahoo.com": "smtp.mail.yahoo.com",
    "kim@yahoo.co.jp": "smtp.mail.yahoo.co.jp",
    "kim@aol.de": "smtp.aol.com",
    "kim@mail.ru": "smtp.mail.ru",
    "kim@naver.com": "smtp.naver.com",
    "kim@orange.fr": "smtp.orange.fr",
    "kim@libero.it": "smtp.libero.it",
    "kim@zoho.eu": "smtp.zoho.eu",
    # their hosts go by the domain
    "kim@inbox.lv": "mail.inbox.lv",
    "kim@mail.ee": "mail.ee",
    # more domains of those that are presets
    "kim@hotmail.de": OFFICE,
    "kim@outlook.com.br": OFFICE,
    "kim@ya.ru": YANDEX,
    "kim@zohomail.com": ZOHO,
    # in the database, but without TLS: no guess
    "kim@nifty.com": None,
    "kim@goo.jp": None,
}

#: domain -> (exchanger, SMTP host): customers of the database's hosters
HOSTED = {
    "hosted-a.com": ("mx.ovh.net", "ssl0.ovh.net"),
    "hosted-b.de": ("mx00.kundenserver.de", "smtp.1und1.de"),
    "hosted-c.de": ("smtpin.rzone.de", "smtp.strato.de"),
    "hosted-d.jp": ("mx.nifty.com", None),
}

#: domains with a configuration file of their own -> SMTP host
AUTOCONFIG = {
    "autoconfig-a.com": "smtp.autoconfig-a.com",
    "autoconfig-b.org": "smtp.hosting.example",
    # its own word counts more than its exchangers
    "autoconfig-c.com": "smtp.autoconfig-c.com",
}
WELL_KNOWN = {
    "well-known-a.com": "smtp.well-known-a.com",
    "well-known-b.de": "smtp.well-known-b.de",
}

#: domain -> host of its SRV records
SERVICES = {
    "srv-a.com": "smtp.srv-a.com",
    "srv-b.com": "mail.srv-b.com",
    "srv-c.com": GOOGLE,
}
