/** @odoo-module **/
// SPDX-License-Identifier: LGPL-3.0-only

import {ListRenderer} from "@web/views/list/list_renderer";
import {patch} from "@web/core/utils/patch";

const {useEffect} = owl;

// On a phone, where a list has no head, a cell's label may stand before it: see list.scss. The web
// client's template stays as it is, since all lists share it.
patch(ListRenderer.prototype, "mail_company_routing.list", {
    setup() {
        this._super(...arguments);
        useEffect(() => {
            const root = this.rootRef.el;
            if (!root || !root.closest(".o_mail_stacked_list")) {
                return;
            }
            for (const column of this.state.columns) {
                const cells = `td.o_data_cell[name="${column.name}"]`;
                for (const cell of column.name ? root.querySelectorAll(cells) : []) {
                    cell.dataset.label = column.label || "";
                }
            }
        });
    },
});
