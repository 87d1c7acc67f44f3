# SPDX-License-Identifier: LGPL-3.0-only
"""Random set-ups: companies, domains, options, servers, people, and a mail that one of them writes.

A set-up is plain data, the same for the same seed, and survives JSON: a failure prints it, and
``make test-truth ARGS="--setup FILE"`` plays it again. What is named in it and is not there counts
as not set, so that a part can be left out without touching the rest. Nothing here imports Odoo.
"""

import copy
import json
import random

#: what a part is set to where a set-up says nothing; leaving a value out is what shrinking tries
DEFAULTS = {
    "settings": {"catch_all": True, "restrict_username": False, "sender_name": "name_address"},
    "native": {"domain": None, "default_from": None, "bounce": "bounce", "catchall": "catchall"},
    "config": {"login": None, "from_filter": None, "rule": "any"},
    "companies": {
        "domain": None,
        "reply_to_by_company": False,
        "prefix": None,
        "email_from_by_company": False,
        "mail_server_by_domain": False,
        "mail_server_by_reply_to": False,
    },
    "domains": {
        "company": None,
        "reply_domain": None,
        "catch_all": "default",
        "default_from": "notifications",
        "bounce": "bounce",
        "catchall": "catchall",
    },
    "users": {"email": "zy@elsewhere.org", "company": "A", "companies": [], "outgoing": {}},
    "servers": {
        "company": None,
        "policy": "default",
        "login": None,
        "address": None,
        "from_filter": None,
        "sequence": 10,
        "rule": "any",
    },
    "mailboxes": {"company": None, "confirmed": True, "priority": 5},
    "mail": {
        "way": "mail",
        "author": "zy",
        "by_cron": False,
        "company": "A",
        "document": False,
        "document_company": None,
        "document_alias": None,
        "email_from": None,
        "reply_to": None,
        "server": None,
        "to_colleague": False,
    },
    "runs": {
        "queue": "A",
        "asker": "A",
        "tester": "A",
        "tester_email": "boss@elsewhere.org",
        "tested": None,
    },
}
_LISTS = ("companies", "domains", "users", "servers", "mailboxes")

COMPANIES = ("A", "B", "C", "D")
DOMAINS = ("a.com", "b.com", "c.com", "group.com", "bücher.example")
PEOPLE = {"zy": "慕容紫英", "lee": "Lee, Ann", "kim": "Kim"}
SERVERS = ("S1", "S2", "S3", "S4", "S5")
FOREIGN = "elsewhere.org"
#: rules that refuse for good; a temporary refusal is another story (tests/test_faults.py)
STRICT = (
    "tencent",
    "netease",
    "yandex",
    "postfix",
    "aliyun_501",
    "unnamed_552",
    "unnamed_550",
    "office365",
    "exchange",
)


def make_setup(seed):
    """Make the set-up of a seed.

    :param seed: an integer
    :return: dict of the parts of :data:`DEFAULTS`, every value given
    """
    return _Maker(random.Random(seed)).make()


def complete(setup):
    """Fill in what a set-up leaves out; unknown names in it are harmless.

    :return: a copy
    """
    full = {}
    for part, defaults in DEFAULTS.items():
        if part in _LISTS:
            full[part] = [{**copy.deepcopy(defaults), **row} for row in setup.get(part, [])]
        else:
            full[part] = {**copy.deepcopy(defaults), **setup.get(part, {})}
    return full


def without_defaults(setup):
    """Leave out of a set-up what is at its default, for people to read."""

    def differing(part, row):
        return {
            key: value
            for key, value in row.items()
            if key not in DEFAULTS[part] or value != DEFAULTS[part][key]
        }

    short = {}
    for part, value in setup.items():
        if part in _LISTS:
            short[part] = [differing(part, row) for row in value]
        else:
            short[part] = differing(part, value)
    return {part: value for part, value in short.items() if value}


def dumps(setup):
    """Write a set-up as JSON, one row of it a line."""
    lines = []
    for part, value in without_defaults(setup).items():
        if isinstance(value, list):
            rows = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in value)
            lines.append(f'  "{part}": [\n{rows}\n  ]')
        else:
            lines.append(f'  "{part}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}"


def simpler(setup):
    """Give set-ups that lack one part of this one, the biggest parts first."""
    for part in _LISTS:
        for number in range(len(setup[part])):
            smaller = copy.deepcopy(setup)
            del smaller[part][number]
            yield smaller
    for part, defaults in DEFAULTS.items():
        rows = range(len(setup[part])) if part in _LISTS else (None,)
        for number in rows:
            row = setup[part] if number is None else setup[part][number]
            for key, default in defaults.items():
                if row[key] != default:
                    smaller = copy.deepcopy(setup)
                    place = smaller[part] if number is None else smaller[part][number]
                    place[key] = copy.deepcopy(default)
                    yield smaller


def shrink(setup, still_fails, rounds=400):
    """Take parts off a set-up for as long as it fails.

    :param still_fails: called with a set-up; a set-up that cannot be made does not fail
    :param rounds: how many set-ups to try at most
    """
    tried = set()
    shrinking = True
    while shrinking:
        shrinking = False
        for smaller in simpler(setup):
            key = json.dumps(smaller, sort_keys=True)
            if key in tried:
                continue
            if len(tried) >= rounds:
                return setup
            tried.add(key)
            if still_fails(smaller):
                setup = smaller
                shrinking = True
                break
    return setup


def is_untouched(setup):
    """Tell whether nothing of the addon is set: what leaves is then native's, to the byte."""
    options = [{**row, "name": None, "prefix": None} for row in setup["companies"]]
    nothing = {**DEFAULTS["companies"], "name": None, "prefix": None}
    return (
        setup["settings"]["catch_all"]
        and not setup["settings"]["restrict_username"]
        and not setup["domains"]
        and all(row == nothing for row in options)
        and all(row["company"] is None and row["policy"] == "default" for row in setup["servers"])
    )


def restricted(setup, server):
    """Tell whether an administrator has told Odoo that this server's provider is strict."""
    if server["policy"] == "default":
        return bool(server["login"]) and setup["settings"]["restrict_username"]
    return server["policy"] == "login"


class _Maker:
    """Makes one set-up, from the companies down to the mail; what it makes can be saved."""

    def __init__(self, rnd):
        self.rnd = rnd
        self.setup = {}

    def often(self, chance):
        return self.rnd.random() < chance

    def one(self, *choices):
        return self.rnd.choice(choices) if choices else None

    def make(self):
        rnd = self.rnd
        self.companies = COMPANIES[: rnd.choice((1, 2, 2, 2, 3, 4))]
        names = rnd.sample(DOMAINS, rnd.choice((0, 1, 2, 2, 3, 3, 4, 5)))
        # one of twenty is a database in which nothing is set
        untouched = self.often(0.05)
        self.names = [] if untouched else sorted(names)
        setup = self.setup
        setup["settings"] = {} if untouched else self.settings()
        setup["native"] = self.native()
        setup["domains"] = self.domains()
        setup["companies"] = [{"name": name} for name in self.companies]
        if not untouched:
            setup["companies"] = [self.company(name) for name in self.companies]
        setup["users"] = [self.user(name) for name in PEOPLE]
        self.setup = setup = complete({**setup, "config": {}})
        setup["servers"] = [
            {**DEFAULTS["servers"], **self.server(name, untouched)}
            for name in SERVERS[: rnd.choice((0, 1, 1, 2, 2, 3, 3, 4, 5))]
        ]
        setup["config"] = {**DEFAULTS["config"], **self.config()}
        setup["mailboxes"] = [
            {**DEFAULTS["mailboxes"], **self.mailbox()} for _number in range(rnd.choice((0, 1, 2)))
        ]
        setup["mail"] = {**DEFAULTS["mail"], **self.mail()}
        setup["runs"] = {
            "queue": self.one(*self.companies),
            "asker": self.one(*self.companies),
            "tester": self.one(*self.companies),
            "tester_email": self.one(
                *(f"boss@{name}" for name in self.names * 2),
                *(row["address"] for row in setup["servers"] if row["address"]),
                "boss@elsewhere.org",
                "boss@odoomommy.com",
            ),
            "tested": self.one(*(row["name"] for row in setup["servers"])),
        }
        return setup

    def settings(self):
        return {
            "catch_all": self.often(0.65),
            "restrict_username": self.often(0.3),
            "sender_name": self.one("name_address", "name_address", "name", "name_company"),
        }

    def native(self):
        return {
            "domain": self.one(None, "odoomommy.com", "odoomommy.com", *DOMAINS[:2]),
            "default_from": self.one(None, "notifications", "notifications", "odoo@odoomommy.com"),
            "bounce": self.one("bounce", "bounce", "bounce", None),
            "catchall": self.one("catchall", "catchall", "catchall", None),
        }

    def domains(self):
        rows = []
        for name in self.names:
            company = None if self.often(0.25) else self.one(*self.companies)
            bounce, catchall = self.one(
                ("bounce", "catchall"), ("bounce", "catchall"), ("returned", "answers")
            )
            rows.append(
                {
                    "name": name,
                    "company": company,
                    "catch_all": self.one("default", "default", "yes", "no"),
                    "default_from": self.one(
                        "notifications",
                        "notifications",
                        "notifications",
                        None,
                        f"robot@{name}",
                        "robot@group.com",
                    ),  # fmt: skip
                    "bounce": bounce,
                    "catchall": catchall,
                }
            )
        for row in rows:
            # answers of one company do not go to another one's domain
            open_to = [
                other["name"] for other in rows if other["company"] in (None, row["company"])
            ]
            if open_to and self.often(0.2):
                row["reply_domain"] = self.one(*open_to)
        return rows

    def company(self, name):
        prefix = self.one(None, None, "info", f"sales-{name.lower()}")
        owned = [row["name"] for row in self.setup["domains"] if row["company"] == name]
        domain = None
        if owned and self.often(0.75):
            domain = self.one(*owned)
        elif self.names and self.often(0.4):
            domain = self.one(*self.names)
        return {
            "name": name,
            "domain": domain,
            "reply_to_by_company": bool(prefix) and self.often(0.8) or self.often(0.1),
            "prefix": prefix,
            "email_from_by_company": self.often(0.6),
            "mail_server_by_domain": self.often(0.6),
            "mail_server_by_reply_to": self.often(0.25),
        }

    def user(self, name):
        member = self.rnd.sample(self.companies, self.rnd.randint(1, len(self.companies)))
        local = name
        if name == "kim" and self.often(0.3):
            local = "zy"  # two users with one address
        if self.often(0.1):
            local = "kevin"  # the login of a server
        domain = self.one(*(self.names * 3), "odoomommy.com", FOREIGN, "straße.example")
        if local == "zy" and name == "kim":
            domain = self.setup.get("domain_of_zy", domain)
        elif name == "zy":
            self.setup["domain_of_zy"] = domain
        outgoing = {}
        for company in member:
            may = [
                row["name"]
                for row in self.setup["domains"]
                if row["company"] is None or row["company"] in member
            ]
            if may and self.often(0.3):
                outgoing[company] = self.one(*may)
        return {
            "name": name,
            "email": f"{local}@{domain}",
            "company": member[0],
            "companies": sorted(member),
            "outgoing": outgoing,
        }

    def server(self, name, untouched):
        company = None if self.often(0.3) else self.one(*self.companies)
        policy = self.one("default", "default", "default", "login", "any")
        if untouched:
            company, policy = None, "default"
        mine = [
            row["name"] for row in self.setup["domains"] if row["company"] in (company, None)
        ] or self.names
        domain = self.one(*(mine * 2), "odoomommy.com", *(["a.com"] if not mine else []))
        address = f"{self.one('kevin', 'kevin', 'info', 'mail')}@{domain}"
        login = address
        chance = self.rnd.random()
        if chance < 0.15:
            login = None  # a relay
        elif chance < 0.3:
            login = f"apikey-{name}"
        from_filter = None
        if self.often(0.3):
            from_filter = self.one(domain, address, address, self.one(*DOMAINS[:3]), f"zy@{domain}")
        strict = restricted(self.setup, {"policy": policy, "login": login}) or self.often(0.25)
        return {
            "name": name,
            "company": company,
            "policy": policy,
            "login": login,
            # a relay may be left without one where nobody restricts it
            "address": None if login is None and policy != "login" else address,
            "from_filter": from_filter,
            "sequence": self.one(10, 10, 10, 5, 20),
            "rule": self.one(*STRICT) if strict else "any",
        }

    def config(self):
        login = self.one(None, "kevin@odoomommy.com")
        strict = bool(login) and (self.setup["settings"]["restrict_username"] or self.often(0.2))
        return {
            "login": login,
            "from_filter": self.one(None, None, None, "odoomommy.com"),
            "rule": self.one(*STRICT) if strict else "any",
        }

    def mailbox(self):
        logins = [row["login"] for row in self.setup["servers"] if "@" in (row["login"] or "")]
        return {
            "login": self.one(*logins, "office@odoomommy.com"),
            "company": None if self.often(0.4) else self.one(*self.companies),
            "confirmed": self.often(0.8),
            "priority": self.one(5, 5, 1),
        }

    def mail(self):
        author = self.one(*self.setup["users"])
        way = self.one("post", "post", "notify", "mail", "mail", "template", "template", "direct")
        document = way in ("post", "template") or self.often(0.5)
        if way == "direct":
            document = False
        where = author["companies"] if self.often(0.85) else self.companies
        mail = {
            "way": way,
            "author": author["name"],
            "company": self.one(*where),
            "by_cron": way == "direct" or self.often(0.2),
            "document": document,
            "to_colleague": self.often(0.2),
        }
        if document and self.often(0.65):
            mail["document_company"] = self.one(*self.companies)
        if document and self.often(0.15):
            mail["document_alias"] = "project"
        if self.often(0.25):
            mail["email_from"] = self.one(
                "News <news@b.com>",
                "news@a.com",
                "A Client <client@example.net>",
                '"Ann, of the shop" <shop@bücher.example>',
                "Kevin <kevin@a.com>",
                *(["Front Desk"] if way in ("mail", "template") else []),
            )
        if way != "direct" and self.often(0.12):
            mail["reply_to"] = self.one("Asked <asked@b.com>", "info@a.com", "x@example.net")
        if way != "direct" and self.setup["servers"] and self.often(0.15):
            mail["server"] = self.one(*self.setup["servers"])["name"]
        return mail
