/** @odoo-module **/

import {countClicks} from "@mail_company_routing/../tests/tours/clicks";
import tour from "web_tour.tour";

const mend = countClicks();
const explain = countClicks();

/** A mail was refused for its sender: an administrator sees it in the chatter, and fixes it there. */
tour.register("mail_company_routing.failure", {test: true}, [
    {content: "The red envelope", trigger: ".o_Message_notificationIconClickable.o-error", run() {}},
    mend.start(".o_Message"),
    {content: "Open it", trigger: ".o_Message_notificationIconClickable.o-error"},
    {
        content: "The provider's words, and what helps",
        trigger: "[name=message]:contains(mail from address must be same)",
        run() {},
    },
    {
        content: "Apply the cure",
        trigger: "footer button[name=action_restrict_and_retry]",
    },
    {
        content: "It says what was done",
        trigger: ".o_notification:contains(Ohm SMTP)",
        run: () => mend.check(2),
    },
    {
        content: "One is where one was",
        trigger: "body:not(.modal-open) .o_Chatter",
        run() {},
    },
]);

/** Which server was it? */
tour.register("mail_company_routing.explain", {test: true}, [
    {
        content: "The envelope of the message",
        trigger: ".o_Message_notificationIconClickable:not(.o-error)",
        run() {},
    },
    explain.start(".o_Message"),
    {content: "Open it", trigger: ".o_Message_notificationIconClickable:not(.o-error)"},
    {content: "Which server was it?", trigger: ".o_mail_explain_route"},
    {
        content: "What happened is on top",
        trigger: ".o_notebook_headers .nav-link.active[name=sent]",
        run() {},
    },
    {
        content: "The server is named",
        trigger: "[name=sent_ids] .o_data_row:contains(Ohm SMTP)",
        run: () => explain.check(2),
    },
    {content: "Ask the server", trigger: ".o_notebook_headers a[name=probe]"},
    {content: "Ask", trigger: "button[name=action_probe]"},
    {
        content: "The answer is there, and its page stays on top",
        trigger: ".o_notebook_headers .nav-link.active[name=probe]",
        extra_trigger: ".modal [name=probe]:contains(RCPT TO)",
        run() {},
    },
    {content: "Close", trigger: "footer button[special=cancel]"},
    {content: "Closed", trigger: "body:not(.modal-open)", run() {}},
]);
