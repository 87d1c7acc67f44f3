/** @odoo-module **/

import {countClicks} from "@mail_company_routing/../tests/tours/clicks";
import tour from "web_tour.tour";

const clicks = countClicks();

/** An ordinary user chooses his Outgoing Email Domain of one of his companies. */
tour.register("mail_company_routing.preferences", {test: true}, [
    {
        content: "Open the user's menu",
        trigger: ".o_user_menu button",
    },
    {
        content: "Open the preferences",
        trigger: "[data-menu=settings]",
    },
    // In a dialog, triggers are looked for inside it
    {
        content: "Each company has a line, and this one none without the option",
        trigger: "[name=outgoing_domain_ids] .o_data_row:contains(Murong Trading)",
        run() {
            const rows = this.$anchor.parent().find(".o_data_row");
            if (rows.length !== 1) {
                console.error(`${rows.length} lines: ${rows.text()}`);
            }
        },
    },
    clicks.start("[name=outgoing_domain_ids]"),
    {
        content: "Change the company's line",
        trigger: "[name=outgoing_domain_ids] .o_data_row td[name=alias_domain_id]",
    },
    {
        content: "Look for the domain",
        trigger: "[name=alias_domain_id] input",
        run() {
            // The click that put the cursor there is counted already
            this.$anchor.val("c.com");
            this.$anchor[0].dispatchEvent(new InputEvent("input", {bubbles: true}));
        },
    },
    {
        content: "Choose it",
        trigger: "[name=alias_domain_id] .o-autocomplete--dropdown-item a:contains(c.com)",
    },
    {
        content: "Save; the page is loaded again",
        trigger: "button[name=preference_save]",
        extra_trigger: ".modal .o_form_dirty",
        run(actions) {
            document.body.dataset.saving = "1";
            actions.click();
            clicks.check(3);
        },
    },
    {
        content: "Open the user's menu again",
        trigger: "body:not([data-saving]):not(.modal-open) .o_user_menu button",
    },
    {
        content: "Open the preferences again",
        trigger: "[data-menu=settings]",
    },
    {
        content: "The domain was kept, and what customers see is beside it",
        trigger: "[name=outgoing_domain_ids] td[name=alias_domain_id]:contains(c.com)",
        run() {
            const seen = this.$anchor.parent().find("td[name=header_from]").text();
            if (!seen.includes("lingsha.han@c.com")) {
                console.error(`Customers see ${seen}`);
            }
        },
    },
    {
        content: "Close",
        trigger: ".btn-close",
    },
    {
        content: "Closed",
        trigger: "body:not(.modal-open)",
        run() {},
    },
]);
