/** @odoo-module **/

import tour from "web_tour.tour";

/**
 * An administrator's way, from a password to the reason why a mail went where it went. What he
 * knows stands in the local storage under "mail_company_routing.journey": of his provider
 * (provider, email, password, host, smtp_port, imap_port), and of Odoo the id of a quotation
 * (order).
 */
const known = () =>
    JSON.parse(window.localStorage.getItem("mail_company_routing.journey")) || {};

/** A step that types what is known. */
const fill = (name, key, type = "input") => ({
    content: `Fill in ${name}`,
    trigger: `[name=${name}] ${type}`,
    run(actions) {
        actions.text(String(known()[key]), this.$anchor);
    },
});

/** A step that chooses None, SSL... */
const choose = (name, value) => ({
    content: `Choose ${name}`,
    trigger: `[name=${name}] select`,
    run: `text "${value}"`,
});

/** A step that looks for a text that is known. */
const see = (trigger, key) => ({
    content: `${key} is shown`,
    trigger,
    run() {
        const text = this.$anchor.text() || this.$anchor.val();
        if (!text.includes(known()[key])) {
            console.error(`"${text}" does not name ${key}, which is ${known()[key]}`);
        }
    },
});

tour.register("mail_company_routing.journey", {test: true}, [
    // Set up
    {content: "Set Up a Mailbox", trigger: "#mail_mailbox_setup button"},
    fill("email", "email"),
    fill("provider_id", "provider", "select"),
    {content: "Servers", trigger: ".o_notebook_headers a[name=servers]"},
    fill("smtp_host", "host"),
    fill("smtp_port", "smtp_port"),
    choose("smtp_encryption", "ssl"),
    fill("incoming_host", "host"),
    fill("incoming_port", "imap_port"),
    {content: "Options", trigger: ".o_notebook_headers a[name=options]"},
    {
        content: "Only the login may send",
        trigger: "[name=restricted] input",
        run() {
            if (!this.$anchor.prop("checked")) {
                this.$anchor.trigger("click");
            }
        },
    },
    {
        content: "A password that is wrong",
        trigger: "[name=password] input",
        run: "text guessed",
    },
    {content: "Try it", trigger: "button[name=action_setup]"},
    {
        content: "A step is under way",
        trigger: ".o_mail_mailbox_progress li[data-state=running]",
        run() {},
    },
    {
        content: "The provider's words are shown, and what helps",
        trigger: "[name=result]:contains(535) b",
        run() {},
    },
    fill("password", "password"),
    {content: "Try it", trigger: "button[name=action_setup]"},
    {
        content: "Something is done",
        trigger: ".o_mail_mailbox_progress li[data-state=done]",
        run() {},
    },
    {content: "It works", trigger: ".alert-success:visible", run() {}},
    {content: "Close", trigger: "footer button[special=cancel]"},
    // Send
    {
        content: "Open the quotation",
        trigger: "body:not(.modal-open) .o_main_navbar",
        run() {
            odoo.__WOWL_DEBUG__.root.env.services.action.doAction({
                type: "ir.actions.act_window",
                res_model: "sale.order",
                res_id: known().order,
                views: [[false, "form"]],
            });
        },
    },
    {
        content: "Send by Email",
        trigger: ".o_form_view button[name=action_quotation_send]:visible",
    },
    {
        content: "Where will it go?",
        trigger: "footer .o_mail_explain_route",
    },
    see("[name=mail_from]", "email"),
    see("[name=reply_to]", "email"),
    see(".o_mail_route", "host"),
    {content: "Back to the mail", trigger: "footer button[name=action_back]"},
    {content: "Send", trigger: "button[name=action_send_mail]"},
    // Explain
    {
        content: "The envelope of the message",
        trigger: "body:not(.modal-open) .o_Message_notificationIconClickable",
    },
    {content: "Which server was it?", trigger: ".o_mail_explain_route"},
    {content: "What happened", trigger: ".o_notebook_headers a[name=sent]"},
    {
        content: "It was sent",
        trigger: "[name=sent_ids] [name=result] .text-bg-success",
        run() {},
    },
    see("[name=sent_ids] .o_data_row [name=server_name]", "email"),
    see("[name=sent_ids] .o_data_row [name=mail_from]", "email"),
    {content: "Close", trigger: "footer button[special=cancel]"},
    {content: "Done", trigger: "body:not(.modal-open)", run() {}},
]);
