from . import (
    mail_routing_fact,
    mail_routing,
    base,
    fetchmail_server,
    ir_mail_server,
    mail_mail,
    res_company,
    res_config_settings,
)
