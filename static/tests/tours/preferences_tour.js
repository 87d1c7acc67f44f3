/** @odoo-module **/

import tour from "web_tour.tour";

/** An ordinary user chooses his Outgoing Email Domain in his own preferences. */
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
        content: "Look for the domain",
        trigger: "[name=alias_domain_id] input",
        run: "text c.com",
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
        content: "The domain was kept",
        trigger: "[name=alias_domain_id] input",
        run() {
            if (this.$anchor.val() !== "c.com") {
                console.error(`Outgoing Email Domain is ${this.$anchor.val()}`);
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
