/** @odoo-module **/

import tour from "web_tour.tour";

const PAGE = ".o_notebook_content .tab-pane.active";

/** The company's page Email Routing: the resulting Reply-To address follows what is typed. */
tour.register("mail_company_routing.company", {test: true}, [
    {
        content: "Open the page Email Routing",
        trigger: ".o_notebook_headers a.nav-link[name=email_routing]",
    },
    {
        content: "Without a prefix, answers go to the catchall alias",
        trigger: `${PAGE} [name=routing_reply_to_example]:contains(catchall@odoomommy.com)`,
        run() {},
    },
    {
        content: "The prefix is asked for only where it counts",
        trigger: `${PAGE}:not(:has([name=reply_to_prefix]:visible)) [name=reply_to_by_company] input`,
    },
    {
        content: "Type the prefix",
        trigger: `${PAGE} [name=reply_to_prefix] input`,
        run: "text service",
    },
    {
        content: "The resulting address is shown before saving",
        trigger: `.o_form_dirty ${PAGE} [name=reply_to_email]:contains(service@odoomommy.com)`,
        run() {},
    },
    {
        content: "So is what a customer's answer goes to",
        trigger: `.o_form_dirty ${PAGE} [name=routing_reply_to_example]:contains(service@odoomommy.com)`,
        run() {},
    },
    {
        content: "Mail From by Company",
        trigger: `${PAGE} [name=email_from_by_company] input:not(:checked)`,
    },
    {
        content: "Own servers",
        trigger: `${PAGE} [name=mail_server_by_domain] input:not(:checked)`,
    },
    {
        content: "Own servers by Reply-To",
        trigger: `${PAGE} [name=mail_server_by_reply_to] input:not(:checked)`,
    },
    ...tour.stepUtils.saveForm({
        extra_trigger: `${PAGE} [name=mail_server_by_reply_to] input:checked`,
    }),
    {
        content: "The address is still there",
        trigger: `.o_form_saved ${PAGE} [name=reply_to_email]:contains(service@odoomommy.com)`,
        run() {},
    },
]);
