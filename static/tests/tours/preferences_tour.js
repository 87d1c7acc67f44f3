/** @odoo-module **/

import {countClicks} from "@mail_company_routing/../tests/tours/clicks";
import tour from "web_tour.tour";

const clicks = countClicks();
const line = "[name=outgoing_domain_ids] .o_data_row:contains(Murong Trading)";

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
        content: "Each company with the option has a line",
        trigger: line,
        run() {
            const rows = this.$anchor.parent().find(".o_data_row");
            if (rows.length !== 2) {
                console.error(`${rows.length} lines: ${rows.text()}`);
            }
        },
    },
    clicks.start("[name=outgoing_domain_ids]"),
    {
        content: "Choose the domain, by the first click on it",
        trigger: `${line} td[name=alias_domain_id] select`,
        run() {
            // Of a list of the browser's own: the click that opens it, and the one on the choice
            const [select] = this.$anchor;
            for (const _click of [1, 2]) {
                select.click();
            }
            const option = [...select.options].find(({text}) => text === "c.com");
            select.value = option.value;
            select.dispatchEvent(new Event("change", {bubbles: true}));
        },
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
        trigger: `${line} td[name=alias_domain_id] select`,
        run() {
            const [chosen] = this.$anchor[0].selectedOptions;
            if (chosen.text !== "c.com") {
                console.error(`${chosen.text} is chosen`);
            }
            const seen = this.$anchor.closest("tr").find("td[name=header_from]").text();
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
