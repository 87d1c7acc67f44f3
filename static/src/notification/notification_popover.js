/** @odoo-module **/

import {attr} from "@mail/model/model_field";
import {registerPatch} from "@mail/model/model_core";
import session from "web.session";

/** Adds Explain the Route to the envelope of a message, for administrators. */
registerPatch({
    name: "MessageNotificationPopoverContentView",
    fields: {
        isRouteExplained: attr({
            compute() {
                return Boolean(session.is_system);
            },
        }),
    },
    recordMethods: {
        async onClickExplainRoute() {
            const {action, orm} = this.messaging.env.services;
            const {message} = this.messageView;
            this.popoverViewOwner.delete();
            action.doAction(
                await orm.call("mail.message", "action_explain_route", [[message.id]])
            );
        },
    },
});

/** Keeps until when a mail waits, and why. */
registerPatch({
    name: "Notification",
    modelMethods: {
        convertData(data) {
            const converted = this._super(data);
            if ("waiting_reason" in data) {
                converted.waitingReason = data.waiting_reason;
            } else if ("notification_status" in data) {
                converted.waitingReason = false;
            }
            return converted;
        },
    },
    fields: {
        waitingReason: attr(),
    },
});
