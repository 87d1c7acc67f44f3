/** @odoo-module **/

import {Component} from "@odoo/owl";
import {registry} from "@web/core/registry";
import {session} from "@web/session";
import {useService} from "@web/core/utils/hooks";

/** Tells administrators that outgoing mail has been failing for hours. */
export class StuckMail extends Component {
    setup() {
        this.action = useService("action");
    }

    open() {
        this.action.doAction("mail_company_routing.action_mail_checkup", {
            clearBreadcrumbs: true,
        });
    }
}
StuckMail.template = "mail_company_routing.StuckMail";

export const systrayItem = {
    Component: StuckMail,
    isDisplayed: () => Boolean(session.mail_stuck),
};

registry
    .category("systray")
    .add("mail_company_routing.StuckMail", systrayItem, {sequence: 31});
