// Changes of the node: each is shown with the command that does the same, and is made only by a tab that may.

import { changed, post, rights } from './api.js';
import { add, fill, h } from './dom.js';
import { failure, say, terminal } from './parts.js';

/** What a tab shows in place of a change that it may not make. */
export const needsRights = () =>
    h('p', { class: 'quiet' }, 'This tab only shows. To change things, open the page with ', h('code', null, 'reg page'), '.');

/**
 * Returns a button that makes a change at once. `path` and `body` are what is sent, `command` does the same, and `done` is said.
 * Without the right to change things it is absent.
 */
export function act({ text, path, body, command, done, then, key, kind, label }) {
    if (!rights.owner) {
        return null;
    }
    const button = h('button', { type: 'button', class: kind, 'data-key': key, 'aria-label': label, title: command }, text);
    button.addEventListener('click', async () => {
        button.disabled = true;
        try {
            const answer = await post(path, body);
            say(typeof done === 'function' ? done(answer) : done, command);
            await then?.(answer);
        } catch (error) {
            say(`${error.message}${error.hint ? `. ${error.hint}` : ''}`);
        } finally {
            button.disabled = false;
        }
    });
    return button;
}

/**
 * Opens a dialog that says what a change does, with the command that does the same, and makes the change on request.
 * `form` are fields; `make` gets the values of the form and returns `{ command, run }` or null while something is missing.
 */
export function ask({ heading, words, form, make, yes, kind }) {
    const result = h('div', { class: 'result' });
    const shown = h('p', { class: 'same' });
    const go = h('button', { type: 'submit', class: kind ?? 'main' }, yes);
    const close = h('button', { type: 'button', on: { click: () => dialog.close() } }, 'Close');
    const body = h('form', { method: 'dialog' }, words, form, shown, result, h('div', { class: 'buttons' }, close, go));
    const dialog = h('dialog', { 'aria-label': heading }, h('h2', null, heading), body);
    const values = () => {
        const found = Object.fromEntries(new FormData(body));
        for (const box of body.querySelectorAll('input[type=checkbox]')) {
            found[box.name] = box.checked;
        }
        return found;
    };
    const look = () => {
        const made = make(values());
        go.disabled = !made?.run;
        fill(shown, made?.command ? ['The same in a terminal: ', terminal(made.command)] : made?.why ?? null);
        return made;
    };
    body.addEventListener('input', look);
    body.addEventListener('submit', async (event) => {
        event.preventDefault();
        const made = look();
        if (!made?.run) {
            return;
        }
        go.disabled = true;
        fill(result, h('p', { class: 'quiet' }, 'The node works on it…'));
        try {
            const said = await made.run((text) => fill(result, h('p', { class: 'quiet' }, text)));
            dialog.close();
            say(said, made.command);
            changed();
        } catch (error) {
            fill(result, failure(error));
            go.disabled = false;
        }
    });
    dialog.addEventListener('close', () => dialog.remove());
    add(document.body, [dialog]);
    look();
    dialog.showModal();
    return dialog;
}

/** Returns a button that opens such a dialog. */
export function asks(text, options, kind) {
    if (!rights.owner) {
        return null;
    }
    return h('button', { type: 'button', class: kind, on: { click: () => ask(options()) } }, text);
}
