from . import (
    mail_routing_fact,
    mail_routing,
    base,
    mail_alias_domain,
    fetchmail_server,
    ir_mail_server,
    mail_message,
    mail_mail,
    mail_thread,
    res_company,
    res_config_settings,
    res_users,
)
