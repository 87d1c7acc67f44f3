/** @odoo-module **/

import tour from "web_tour.tour";

/** The check-up: a finding is fixed where it is seen, and DNS says what to enter. */
tour.register("mail_company_routing.checkup", {test: true}, [
    {
        content: "The provider lets only the login send: do it",
        trigger: ".o_data_row button[name=action_fix]",
    },
    {
        content: "It says what was done, and the finding is gone",
        trigger: ".o_notification",
        extra_trigger: ".o_form_view:not(:has(button[name=action_fix]:visible))",
        run() {},
    },
    {
        content: "Look the DNS records up",
        trigger: "button[name=action_look_up]",
    },
    {
        content: "Each kind of record is shown",
        trigger: ".o_mail_checkup_kind:contains(DMARC)",
        run() {},
    },
    {
        content: "What to enter for SPF",
        trigger: ".o_data_row:contains(SPF) button[name=action_show_record]",
    },
    {
        content: "It is there to be copied",
        trigger: ".modal-content [name=record_paste]:contains(spf.mail.qq.com)",
        run() {},
    },
    {
        content: "Close it",
        trigger: ".modal-content footer button.btn-primary",
    },
    {
        content: "The findings are still there",
        trigger: "body:not(:has(.modal)) .o_data_row:contains(SPF)",
        run() {},
    },
]);
