/** @odoo-module **/

import {Component, useState} from "@odoo/owl";
import {registry} from "@web/core/registry";
import {session} from "@web/session";
import {useBus, useService} from "@web/core/utils/hooks";

/** Counts for administrators the incoming mails that could not be processed. */
export class UnprocessedMail extends Component {
    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.state = useState({count: session.mail_unprocessed_count || 0});
        // A retry or a deletion is followed by a view; without such mails nothing is asked
        useBus(this.env.bus, "ACTION_MANAGER:UI-UPDATED", () => this.refresh());
    }

    async refresh() {
        if (this.state.count) {
            this.state.count = await this.orm.searchCount("mail.unprocessed", []);
        }
    }

    open() {
        this.action.doAction("mail_company_routing.action_mail_unprocessed", {
            clearBreadcrumbs: true,
        });
    }
}
UnprocessedMail.template = "mail_company_routing.UnprocessedMail";

export const systrayItem = {
    Component: UnprocessedMail,
    isDisplayed: () => session.mail_unprocessed_count !== undefined,
};

registry
    .category("systray")
    .add("mail_company_routing.UnprocessedMail", systrayItem, {sequence: 30});
