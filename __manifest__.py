{
    "name": "Mail Company Routing",
    "summary": "Send through providers that accept only their own login, route mail by company,"
    " and see why every mail went where it went",
    "version": "16.0.1.0.0",
    "category": "Productivity/Discuss",
    "license": "LGPL-3",
    "author": "The contributors of Mail Company Routing",
    "development_status": "Beta",
    "depends": ["mail"],
    "data": [
        "security/ir.model.access.csv",
        "security/mail_company_routing_rules.xml",
        "views/fetchmail_server_views.xml",
        "views/ir_mail_server_views.xml",
        "views/mail_alias_domain_views.xml",
        "views/mail_unprocessed_views.xml",
        "views/res_company_views.xml",
        "views/res_config_settings_views.xml",
        "views/res_users_views.xml",
        "wizards/mail_route_explain_views.xml",
    ],
    "assets": {
        "web.assets_backend": ["mail_company_routing/static/src/systray/*"],
    },
    "installable": True,
    "application": False,
}
