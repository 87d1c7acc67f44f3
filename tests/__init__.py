from . import (
    test_alias_domain,
    test_catch_all,
    test_checkup,
    test_companies,
    test_explain,
    test_faults,
    test_incoming,
    test_mailbox_setup,
    test_refusals,
    test_restricted_sending,
    test_settings,
    test_untouched,
)
