/** @odoo-module **/

import {Component, onMounted} from "@odoo/owl";
import {browser} from "@web/core/browser/browser";
import {registry} from "@web/core/registry";
import {standardWidgetProps} from "@web/views/widgets/standard_widget_props";
import {useService} from "@web/core/utils/hooks";

/** Key under which the browser keeps, over a reload, what to open afterwards. */
const GOES_ON = "mail_company_routing.company_goes_on";

/** How long the reload may take, in milliseconds; an older request is ignored. */
const PATIENCE = 60000;

/** Remembers the method to call for a company; a new one has no id before it is saved. */
function keep(method, resId) {
    const kept = JSON.stringify({method, id: resId || false, time: Date.now()});
    browser.sessionStorage.setItem(GOES_ON, kept);
}

/** Gives the method to call for a company, at most once; undefined: none. */
function takeKept(resId) {
    const kept = browser.sessionStorage.getItem(GOES_ON);
    browser.sessionStorage.removeItem(GOES_ON);
    try {
        const {method, id, time} = JSON.parse(kept) || {};
        return id === resId && Math.abs(Date.now() - time) < PATIENCE ? method : undefined;
    } catch {
        return undefined; // Not what is kept here
    }
}

/** Opens the action that a method of the company gives, and reloads the company afterwards. */
function useOpen(component) {
    const action = useService("action");
    return (method) => {
        const {record} = component.props;
        return action.doActionButton({
            type: "object",
            name: method,
            resModel: record.resModel,
            resId: record.resId,
            resIds: [record.resId],
            context: record.context,
            onClose: async () => {
                await record.load();
                record.model.notify();
            },
        });
    };
}

/**
 * A button of a company's form that opens a dialog.
 *
 * It saves the company first, as every button does. But once a company is saved, Odoo reloads the
 * page, which closes the dialog of an ordinary button: this one opens it after the reload.
 */
export class CompanyButton extends Component {
    setup() {
        this.open = useOpen(this);
    }

    async onClick() {
        const {record, method} = this.props;
        await record.askChanges(); // What is being typed
        if (!record.isNew && !record.isDirty) {
            await this.open(method);
            return;
        }
        keep(method, record.resId);
        try {
            // No reload of the record: the page is reloaded
            if (await record.save({stayInEdition: true, noReload: true})) {
                keep(method, record.resId);
                return; // CompanyGoesOn is next
            }
        } catch (error) {
            browser.sessionStorage.removeItem(GOES_ON);
            throw error;
        }
        browser.sessionStorage.removeItem(GOES_ON);
    }
}
CompanyButton.template = "mail_company_routing.CompanyButton";
CompanyButton.props = {
    ...standardWidgetProps,
    method: String,
    string: String,
};
CompanyButton.extractProps = ({attrs}) => ({method: attrs.method, string: attrs.string});

/** Is on the company's form, outside its pages: opens after a reload what was asked for before. */
export class CompanyGoesOn extends Component {
    setup() {
        const open = useOpen(this);
        onMounted(() => {
            const method = takeKept(this.props.record.resId);
            if (method) {
                open(method);
            }
        });
    }
}
CompanyGoesOn.template = "mail_company_routing.CompanyGoesOn";
CompanyGoesOn.props = {...standardWidgetProps};

registry.category("view_widgets").add("mail_company_button", CompanyButton);
registry.category("view_widgets").add("mail_company_goes_on", CompanyGoesOn);
