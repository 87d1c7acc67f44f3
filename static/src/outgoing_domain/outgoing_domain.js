/** @odoo-module **/

import {Component, onWillStart, onWillUpdateProps} from "@odoo/owl";
import {registry} from "@web/core/registry";
import {standardFieldProps} from "@web/views/fields/standard_field_props";
import {useService} from "@web/core/utils/hooks";

const asked = new Set();
let answer = null;

/**
 * Give the domains that can be chosen in a company, its own and the shared ones, as [id, name].
 *
 * All lines of a list ask at the same time: there is one request for all of them.
 */
async function choicesIn(orm, companyId, context) {
    asked.add(companyId);
    answer =
        answer ||
        Promise.resolve().then(() => {
            const companyIds = [...asked];
            asked.clear();
            answer = null;
            return orm.searchRead(
                "mail.alias.domain",
                [["company_id", "in", [false, ...companyIds]]],
                ["display_name", "company_id"],
                // The lines' companies, whatever is ticked in the switcher
                {context: {...context, allowed_company_ids: companyIds}}
            );
        });
    return (await answer)
        .filter(({company_id: owner}) => !owner || owner[0] === companyId)
        .map(({id, display_name}) => [id, display_name]);
}

/**
 * The Outgoing Email Domain of a line, as a list of choices that the first click opens.
 *
 * Odoo's own cell shows its widget only after a first click has opened the line, and an empty cell
 * does not show that it can be clicked.
 */
export class OutgoingDomain extends Component {
    setup() {
        this.orm = useService("orm");
        onWillStart(() => this.load(this.props));
        onWillUpdateProps((props) => this.load(props));
    }

    async load({record}) {
        const [companyId] = record.data.company_id || [];
        if (companyId === this.companyId) {
            return;
        }
        this.companyId = companyId;
        this.choices = await choicesIn(this.orm, companyId, record.context);
    }

    get value() {
        return this.props.value ? this.props.value[0] : 0;
    }

    /** The choices, with the present value, even if that now belongs to another company. */
    get options() {
        const {value} = this.props;
        const isKnown = !value || this.choices.some(([id]) => id === value[0]);
        return isKnown ? this.choices : [...this.choices, value];
    }

    onChange(ev) {
        const id = Number(ev.target.value);
        this.props.update(this.options.find((option) => option[0] === id) || false);
    }
}

OutgoingDomain.template = "mail_company_routing.OutgoingDomain";
OutgoingDomain.props = {
    ...standardFieldProps,
    placeholder: {type: String, optional: true},
};
OutgoingDomain.supportedTypes = ["many2one"];
OutgoingDomain.extractProps = ({attrs}) => ({placeholder: attrs.placeholder});

registry.category("fields").add("mail_outgoing_domain", OutgoingDomain);
