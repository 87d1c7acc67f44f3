/** @odoo-module **/

import tour from "web_tour.tour";

/** An alias domain typed in its own script, whose answers go to another domain. */
tour.register("mail_company_routing.alias_domain", {test: true}, [
    {
        content: "Create an alias domain",
        trigger: ".o_list_button_add",
    },
    {
        content: "Type the domain",
        trigger: ".o_form_view [name=name] input",
        run: "text 例子.中国",
    },
    {
        content: "Look for its Reply Domain",
        trigger: "[name=reply_domain_id] input",
        run: "text odoomommy",
    },
    {
        content: "Choose it",
        trigger: "[name=reply_domain_id] .o-autocomplete--dropdown-item a:contains(odoomommy.com)",
    },
    ...tour.stepUtils.saveForm(),
    {
        content: "Saved, it is shown as it was typed",
        trigger: ".o_form_saved [name=unicode_name]:contains(例子.中国)",
        run() {},
    },
    {
        content: "Back to the list",
        trigger: ".breadcrumb-item a",
    },
    {
        content: "The list shows it as it was typed, with its Reply Domain",
        trigger: ".o_list_view .o_data_row:contains(例子.中国) [name=reply_domain_id]:contains(odoomommy.com)",
        run() {},
    },
]);
