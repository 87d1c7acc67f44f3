/** @odoo-module **/

import tour from "web_tour.tour";

/** An outgoing server whose login is no address: refused in a sentence, mended, saved. */
tour.register("mail_company_routing.mail_server", {test: true}, [
    {
        content: "Create an outgoing server",
        trigger: ".o_list_button_add",
    },
    {
        content: "Name it",
        trigger: ".o_form_view [name=name] input",
        run: "text Relay of Ohm",
    },
    {
        content: "Where it is",
        trigger: "[name=smtp_host] input",
        run: "text smtp.example.com",
    },
    {
        content: "A login that is no address",
        trigger: "[name=smtp_user] input",
        run: "text apikey",
    },
    {
        content: "Save",
        trigger: ".o_form_button_save",
        extra_trigger: ".o_form_dirty",
    },
    {
        content: "The refusal names the server",
        trigger: ".modal-body:contains(Relay of Ohm)",
        run() {},
    },
    {
        content: "Read it",
        trigger: ".modal-footer button.btn-primary",
    },
    {
        content: "Fill in the Login Address",
        trigger: "body:not(.modal-open) [name=sender_address] input",
        run: "text kevin@odoomommy.com",
    },
    ...tour.stepUtils.saveForm(),
    {
        content: "It was kept",
        trigger: ".o_form_saved [name=sender_address] input",
        run() {
            if (this.$anchor.val() !== "kevin@odoomommy.com") {
                console.error(`Login Address is ${this.$anchor.val()}`);
            }
        },
    },
]);
