// Parts that several views show.

import { h, fill } from './dom.js';
import { ago, digest, number, percent, reference, short, title } from './words.js';

/** Says something to everybody: it is seen for a while, and screen readers read it. */
export function say(text, command) {
    const said = document.getElementById('said');
    fill(said, h('p', null, text), command ? terminal(command) : null);
    said.classList.add('shown');
    clearTimeout(say.timer);
    say.timer = setTimeout(() => said.classList.remove('shown'), 8000);
}

/** Shows a command that does the same, to copy. */
export function terminal(command) {
    const copy = h('button', { type: 'button', class: 'copy', 'aria-label': `Copy the command: ${command}` }, 'Copy');
    copy.addEventListener('click', async () => {
        try {
            await navigator.clipboard.writeText(command);
            copy.textContent = 'Copied';
        } catch {
            copy.textContent = 'Select it';
        }
        setTimeout(() => (copy.textContent = 'Copy'), 2000);
    });
    return h('span', { class: 'terminal' }, h('code', null, command), copy);
}

/** A heading with what stands beside it. */
export function head(text, ...beside) {
    return h('div', { class: 'head' }, h('h1', null, text), ...beside);
}

export function section(heading, ...children) {
    return h('section', { class: 'section' }, h('h2', null, heading), ...children);
}

/** Says what is not there, and what to do first. */
export function empty(what, ...next) {
    return h('div', { class: 'empty' }, h('p', { class: 'what' }, what), ...next);
}

export const waits = (text) => h('p', { class: 'quiet' }, text);

/** Shows why something failed, and what to do. */
export function failure(error) {
    if (error.name === 'AbortError') {
        return null;
    }
    const causes = (error.causes ?? []).filter(Boolean);
    return h(
        'div',
        { class: 'failure', role: 'alert' },
        h('p', null, [error.message, ...causes].join(': ')),
        error.hint ? h('p', { class: 'hint' }, error.hint) : null,
    );
}

/** A word in a frame. Its kind is `good`, `warn`, `bad` or nothing. */
export const badge = (text, kind, why) => h('span', { class: `badge ${kind ?? ''}`, title: why }, text);

/** A long id of which the start is seen; the rest is in its title, and is copied with it. */
export const id = (text, letters) => h('code', { class: 'id', title: text }, short(text, letters));

export const sum = (text) => h('code', { class: 'id', title: text }, digest(text));

/** The name of a model, as a link to its view. */
export function modelLink(model) {
    const [publisher, name] = title(model);
    const href = `#/model/${encodeURIComponent(reference(model))}`;
    return h('a', { class: 'model', href, title: reference(model) }, h('span', { class: 'of' }, `${publisher}/`), h('wbr'), name);
}

export function tags(model) {
    return (model.tags ?? []).map((it) => h('span', { class: 'tag' }, it));
}

/** The words for the replicas of a model, with their age. */
export function replicas({ replicas: proven, claimed, oldest_proof: oldest, audited, endangered }) {
    if (!audited && !proven) {
        return h('span', { class: 'quiet', title: 'It is not shared, is not whole, or the node does not audit' }, 'not counted');
    }
    const age = proven && oldest ? `, ${ago(oldest)}` : '';
    const said = claimed > proven ? `; ${number(claimed)} say they hold it` : '';
    const text = `${number(proven)} proven${age}`;
    return h('span', { class: endangered ? 'warn-text' : null, title: `Other nodes that gave pieces when asked${said}` }, text);
}

/** What a model is here: why it is kept, what is missing, what is newer. */
export function states(model) {
    const found = [];
    if (model.withdrawn) {
        found.push(badge('withdrawn', 'bad', model.withdrawn));
    }
    if (Object.keys(model.behind ?? {}).length) {
        const why = Object.values(model.behind).map((it) => it.why).join('; ');
        found.push(badge('newer version', 'warn', why));
    }
    if (!model.here) {
        const part = model.part;
        found.push(badge('incomplete', 'warn', part ? `${number(part.files)} files were chosen` : 'Files of it are missing'));
    } else if (model.part) {
        found.push(badge(`part: ${number(model.part.files)} of ${number(model.files)} files`, '', 'Only chosen files'));
    }
    if (model.endangered) {
        found.push(badge('endangered', 'bad', 'It has too few proven replicas'));
    }
    for (const [key, text] of [['published', 'published'], ['pinned', 'pinned'], ['followed', 'followed'], ['donated', 'donated']]) {
        if (model[key]) {
            found.push(badge(text, key === 'donated' ? '' : 'good', `It is kept: ${text}`));
        }
    }
    return found;
}

export function meter(done, total, label) {
    const part = percent(done, total);
    const bar = h('div', { class: 'bar' });
    bar.style.width = `${part}%`;
    return h(
        'div',
        { class: 'meter', role: 'progressbar', 'aria-valuenow': part, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-label': label },
        bar,
    );
}

/** A list of names and values. Rows without a value are left out. */
export function facts(rows) {
    const shown = rows.filter(([, value]) => value !== null && value !== undefined && value !== '' && value !== false);
    if (!shown.length) {
        return h('p', { class: 'quiet' }, 'Nothing yet.');
    }
    return h('dl', { class: 'facts' }, shown.flatMap(([name, value]) => [h('dt', null, name), h('dd', null, value)]));
}

/** A table. `columns` are `[heading, class]`; a row is a list of cells. */
export function table(label, columns, rows) {
    return h(
        'div',
        { class: 'wide', tabindex: 0, role: 'region', 'aria-label': label },
        h(
            'table',
            null,
            h('thead', null, h('tr', null, columns.map(([text, kind]) => h('th', { scope: 'col', class: kind }, text)))),
            h('tbody', null, rows.map((row) => tableRow(columns, row))),
        ),
    );
}

export function tableRow(columns, row) {
    return h('tr', null, row.map((cell, place) => h(place ? 'td' : 'th', { class: columns[place][1], scope: place ? null : 'row' }, cell)));
}

/** A field with its label. */
export function field(label, input, hint) {
    const key = `f-${(field.last = (field.last ?? 0) + 1)}`;
    input.id = key;
    const hinted = hint ? h('small', { id: `${key}-hint` }, hint) : null;
    if (hinted) {
        input.setAttribute('aria-describedby', `${key}-hint`);
    }
    return h('div', { class: 'field' }, h('label', { for: key }, label), input, hinted);
}

export function check(label, name, checked) {
    return h('label', { class: 'check' }, h('input', { type: 'checkbox', name, checked: Boolean(checked) }), label);
}

export function select(name, options, chosen) {
    return h('select', { name }, options.map(([value, text]) => h('option', { value, selected: value === chosen }, text)));
}
