// The models in the store, page by page.

import { get } from './api.js';
import { fill, h } from './dom.js';
import { empty, failure, field, head, modelLink, replicas, say, select, states, table, tableRow, tags, terminal, waits } from './parts.js';
import { ago, count, size } from './words.js';

const KINDS = [
    ['all', 'All'],
    ['here', 'Complete'],
    ['partial', 'Incomplete'],
    ['published', 'Published here'],
    ['followed', 'Followed'],
    ['donated', 'Donated'],
    ['behind', 'Newer version known'],
];
const COLUMNS = [['Model', ''], ['Size', 'num'], ['Replicas elsewhere', 'mid'], ['State', ''], ['Used', 'far num']];
/** After a change of the store, the list waits this long: a pull completes many blobs. */
const SETTLE_MS = 1500;

function cells(model) {
    return [
        h('div', { class: 'name' }, modelLink(model), h('div', { class: 'tags' }, tags(model))),
        size(model.bytes),
        replicas(model),
        [h('div', { class: 'badges' }, states(model)), h('div', { class: 'narrow quiet' }, replicas(model))],
        model.last_used ? ago(model.last_used) : '',
    ];
}

function nothing(asked) {
    if (asked.text || (asked.kind && asked.kind !== 'all')) {
        return empty('No model in the store fits.', h('p', null, 'Other words or another kind may, or ', h('a', { href: '#/find' }, 'find it elsewhere'), '.'));
    }
    return empty(
        'This node has no model yet.',
        h('p', null, h('a', { href: '#/find' }, 'Find one'), ' and pull it, or in a terminal:'),
        h('p', null, terminal('reg pull PUBLISHER/MODEL')),
        h('p', null, 'To publish your own, make a key once:'),
        h('p', null, terminal('reg key new me')),
        h('p', null, terminal('reg publish ./my-model my-model:v1 --key me')),
    );
}

export function show(root, { query, on }) {
    const asked = { text: query.get('text') ?? '', kind: query.get('kind') ?? 'all' };
    const text = h('input', { type: 'search', name: 'text', value: asked.text, autocomplete: 'off', placeholder: 'Part of a name' });
    const kind = select('kind', KINDS, asked.kind);
    const list = h('div', null, waits('Reading the list…'));
    const more = h('div', { class: 'more' });
    let asking = new AbortController();
    let body = null;
    let shown = 0;
    let pages = 0;

    const load = async (after) => {
        asking.abort();
        asking = new AbortController();
        const { signal } = asking;
        try {
            const page = await get('/v1/page/models', { text: text.value, kind: kind.value, after }, signal);
            if (signal.aborted) {
                return;
            }
            if (!after) {
                shown = 0;
                pages = 0;
                body = null;
            }
            if (body) {
                body.append(...page.models.map((it) => tableRow(COLUMNS, cells(it))));
            } else if (page.models.length) {
                const made = table('Models in the store', COLUMNS, page.models.map(cells));
                body = made.querySelector('tbody');
                fill(list, made);
            } else {
                fill(list, nothing({ text: text.value, kind: kind.value }));
            }
            performance.mark('listed');
            shown += page.models.length;
            pages += 1;
            const next = page.next
                ? h('button', { type: 'button', 'data-key': 'more', on: { click: () => load(page.next) } }, 'Show more')
                : null;
            fill(more, shown ? h('p', { class: 'quiet' }, `${count(shown, 'model')} ${next ? 'shown' : 'in all'}`) : null, next);
            if (after) {
                say(`${count(page.models.length, 'model')} more`);
            }
        } catch (error) {
            const said = failure(error);
            if (said) {
                fill(list, said);
            }
        }
    };

    let timer = null;
    const later = (ms) => {
        clearTimeout(timer);
        timer = setTimeout(() => load(), ms);
    };
    text.addEventListener('input', () => later(250));
    kind.addEventListener('change', () => load());
    // A longer list stays as it is while it is read.
    on('store', () => pages <= 1 && later(SETTLE_MS));
    on('changed', () => load());
    fill(
        root,
        head('Models', h('p', { class: 'quiet' }, 'What this node keeps, verifies and shares')),
        h('form', { class: 'filters', role: 'search', on: { submit: (it) => it.preventDefault() } }, field('Search', text), field('Show', kind)),
        list,
        more,
    );
    load();
    return () => {
        asking.abort();
        clearTimeout(timer);

    };
}
