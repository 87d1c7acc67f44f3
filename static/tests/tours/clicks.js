/** @odoo-module **/

/**
 * What a task costs whoever does it, in clicks; typing is none.
 *
 * @returns {Object} `start(trigger)`: a step before the first click; `check(most)`: to call after
 *  the last one
 */
export function countClicks() {
    let clicks = 0;
    const count = () => clicks++;
    return {
        start: (trigger) => ({
            content: "Count the clicks from here on",
            trigger,
            run() {
                document.addEventListener("click", count, true);
            },
        }),
        check(most) {
            document.removeEventListener("click", count, true);
            if (!clicks || clicks > most) {
                console.error(`${clicks} clicks, not ${most}`);
            }
        },
    };
}
