/** @odoo-module **/

import tour from "web_tour.tour";

const BOX = "#mail_routing_settings";
const reloaded = "body:not([data-saving])";

/** General Settings: Restrict Username on, Catch All off, saved, and found so afterwards. */
tour.register("mail_company_routing.settings", {test: true}, [
    {
        content: "Restrict Username is off",
        trigger: `${BOX} [name=mail_restrict_username] input:not(:checked)`,
    },
    {
        content: "Turn Catch All off",
        trigger: `${BOX} [name=mail_catch_all] input:checked`,
    },
    {
        content: "Choose the Sender Name",
        trigger: `${BOX} select#mail_sender_name_format`,
        run: 'text "name_company"',
    },
    {
        content: "Save; the page is loaded again",
        trigger: ".o_form_button_save",
        extra_trigger: `${BOX}:has([name=mail_restrict_username] input:checked):has([name=mail_catch_all] input:not(:checked))`,
        run(actions) {
            document.body.dataset.saving = "1";
            actions.click();
        },
    },
    {
        content: "Restrict Username was kept",
        trigger: `${reloaded} ${BOX} [name=mail_restrict_username] input:checked`,
        run() {},
    },
    {
        content: "Catch All was kept",
        trigger: `${reloaded} ${BOX} [name=mail_catch_all] input:not(:checked)`,
        run() {},
    },
    {
        content: "Sender Name was kept",
        trigger: `${reloaded} ${BOX} select#mail_sender_name_format`,
        run() {
            if (this.$anchor.val() !== '"name_company"') {
                console.error(`Sender Name is ${this.$anchor.val()}`);
            }
        },
    },
]);
