/** @odoo-module **/

import {Component, onMounted, onWillUnmount, useState, useSubEnv} from "@odoo/owl";
import {FormController} from "@web/views/form/form_controller";
import {browser} from "@web/core/browser/browser";
import {formView} from "@web/views/form/form_view";
import {registry} from "@web/core/registry";
import {standardWidgetProps} from "@web/views/widgets/standard_widget_props";
import {useService} from "@web/core/utils/hooks";

/** Milliseconds between two questions for the progress */
const PAUSE = 250;

/** Set Up a Mailbox: while the server tries the mailbox, its steps are shown as they go. */
export class MailboxSetupController extends FormController {
    setup() {
        super.setup();
        this.action = useService("action");
        this.orm = useService("orm");
        this.progress = useState({steps: []});
        useSubEnv({mailboxProgress: this.progress});
        onMounted(() => this.goOn());
        onWillUnmount(() => this.stopFollowing());
    }

    /** Goes on by itself after the provider's consent. */
    goOn() {
        const {data, resId} = this.model.root;
        if (resId && data.oauth_state === "connected" && !data.result) {
            this.setUp(resId, false);
        }
    }

    /** Passes the password as an argument of the call: it is never saved with the form. */
    async beforeExecuteActionButton(clickParams) {
        if (clickParams.name !== "action_setup") {
            await this.model.root.askChanges();
            await this.model.root.update({password: false});
            return super.beforeExecuteActionButton(clickParams);
        }
        await this.model.root.askChanges(); // What is being typed
        const {password} = this.model.root.data;
        await this.model.root.update({password: false});
        const saved = await super.beforeExecuteActionButton(clickParams);
        if (saved === false || !(await this.setUp(this.model.root.resId, password))) {
            await this.model.root.update({password});
        }
        return false;
    }

    /** Saves nothing when the page is left: the form may hold a password. */
    async beforeUnload() {}

    /** Calls silently: else the web client hides the steps behind "Loading" after three seconds. */
    async setUp(resId, password) {
        this.follow(resId);
        try {
            const {context} = this.model.root;
            const result = await this.orm.silent.call(
                "mail.mailbox.setup",
                "action_setup",
                [[resId]],
                {context, password}
            );
            this.stopFollowing();
            await this.action.doAction(result);
            return true;
        } catch (error) {
            this.stopFollowing();
            // Shown as any other error, while the buttons are enabled again
            Promise.reject(error);
            return false;
        }
    }

    stopFollowing() {
        this.following = null;
        this.progress.steps = [];
    }

    async follow(resId) {
        const run = {};
        this.following = run;
        while (this.following === run) {
            const steps = await this.orm.silent
                .call("mail.mailbox.setup", "get_progress", [[resId]])
                .catch(() => []); // The set-up itself says what went wrong
            if (this.following === run && steps.length) {
                this.progress.steps = steps;
            }
            await new Promise((resolve) => browser.setTimeout(resolve, PAUSE));
        }
    }
}

export class MailboxProgress extends Component {
    setup() {
        this.progress = useState(this.env.mailboxProgress);
    }
}
MailboxProgress.template = "mail_company_routing.MailboxProgress";
MailboxProgress.props = {...standardWidgetProps};

registry.category("view_widgets").add("mail_mailbox_progress", MailboxProgress);
registry
    .category("views")
    .add("mail_mailbox_setup", {...formView, Controller: MailboxSetupController});
