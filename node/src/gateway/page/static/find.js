// Finds models in the catalogue of this node. No peer is asked.

import { get, rights } from './api.js';
import { asks, needsRights } from './change.js';
import { fill, h } from './dom.js';
import { badge, check, empty, failure, field, head, modelLink, select, terminal, waits } from './parts.js';
import { pull } from './offers.js';
import { ago, count, number, quoted, reference, size } from './words.js';

const PAGE = 20;
const ORDERS = [['best', 'Best first'], ['newest', 'Newest first'], ['size', 'Smallest first'], ['name', 'By name'], ['replicas', 'Most replicas first']];
const SIZES = [['', 'Any size'], [1 << 30, 'up to 1 GiB'], [4 * 2 ** 30, 'up to 4 GiB'], [16 * 2 ** 30, 'up to 16 GiB'], [64 * 2 ** 30, 'up to 64 GiB']];
const FROM = { publisher: 'as its publisher signed', node: 'computed here', names: 'only its names are known' };

function command(asked) {
    const flags = [['task', '--task'], ['license', '--license'], ['format', '--format'], ['quant', '--quant'], ['base', '--base'], ['publisher', '--publisher']];
    const parts = ['reg search', ...(asked.words ? asked.words.split(/\s+/).filter(Boolean).map(quoted) : [])];
    for (const [key, flag] of flags) {
        if (asked[key]) {
            parts.push(flag, quoted(asked[key]));
        }
    }
    if (asked.max_bytes) {
        parts.push('--max-size', `${Number(asked.max_bytes) / 2 ** 30}G`);
    }
    if (asked.order && asked.order !== 'best') {
        parts.push('--sort', asked.order);
    }
    return parts.concat(asked.known ? ['--known'] : []).join(' ');
}

function result(found) {
    const known = found.is_known ? badge('known publisher', 'good', 'You have named, follow or have collected it') : null;
    const details = [
        found.task,
        found.parameters ? `${number(found.parameters)} parameters` : null,
        found.formats.join(', '),
        found.quants.join(', '),
        found.license,
        found.context ? `context ${number(found.context)}` : null,
    ].filter(Boolean);
    const proven = found.replicas ? `${count(found.replicas.count, 'replica')} proven, the oldest ${ago(found.replicas.since)}` : 'no replica proven here';
    return h(
        'li',
        { class: 'card found' },
        h('div', { class: 'card-top' }, h('h2', null, modelLink(found), ' ', h('span', { class: 'tag' }, found.tag)), found.is_here ? badge('here', 'good') : null, known),
        found.title ? h('p', null, found.title) : null,
        found.summary ? h('p', { class: 'quiet' }, found.summary) : null,
        h('p', { class: 'figures-line' }, [found.bytes ? size(found.bytes) : 'size not known', ...details].join(' · ')),
        h('p', { class: 'quiet' }, `${proven}; signed ${ago(found.issued)}; facts ${FROM[found.facts] ?? ''}`, found.base ? `; derived from ${found.base}` : ''),
        found.also.length ? h('p', { class: 'quiet' }, 'Also as ', found.also.slice(0, 3).map((it, place) => [place ? ', ' : '', modelLink(it)])) : null,
        found.is_here ? null : h('div', { class: 'buttons' }, asks('Pull', () => pull(reference(found)), 'main')),
    );
}

function nothing(entries) {
    if (!entries) {
        return empty(
            'The catalogue is empty.',
            h('p', null, 'The node compares it with peers. It needs one first:'),
            h('p', null, terminal('reg peers add ADDRESS')),
            h('p', null, 'See ', h('a', { href: '#/peers' }, 'Peers'), '.'),
        );
    }
    return empty(`None of the ${count(entries, 'model')} of the catalogue fits.`, h('p', null, 'Fewer words or filters find more.'));
}

export function show(root, { query }) {
    const input = (name, placeholder) => h('input', { name, placeholder, value: query.get(name) ?? '', autocomplete: 'off', spellcheck: 'false' });
    const words = h('input', { type: 'search', name: 'words', value: query.get('words') ?? '', autocomplete: 'off', placeholder: 'Name, title, task, licence…' });
    const form = h(
        'form',
        { role: 'search' },
        h('div', { class: 'filters' }, field('Words', words), field('Order', select('order', ORDERS, 'best')), h('button', { type: 'submit', class: 'main' }, 'Find')),
        h(
            'details',
            null,
            h('summary', null, 'Filters'),
            h(
                'div',
                { class: 'filters' },
                field('Task', input('task', 'text-generation')),
                field('Licence', input('license', 'apache-2.0')),
                field('Format', input('format', 'gguf')),
                field('Quantisation', input('quant', 'Q4_K_M')),
                field('Largest size', select('max_bytes', SIZES, '')),
                field('Derived from', input('base', 'a model')),
                field('Publisher', input('publisher', 'a name or an id')),
                check('Only publishers that you know', 'known', false),
            ),
        ),
    );
    const list = h('ul', { class: 'cards bare' });
    const above = h('div', { role: 'status', class: 'above' });
    const more = h('div', { class: 'more' });
    let asking = new AbortController();
    let timer = null;
    const load = async (offset = 0) => {
        asking.abort();
        asking = new AbortController();
        const { signal } = asking;
        const asked = Object.fromEntries(new FormData(form));
        try {
            const found = await get('/v1/page/search', { ...asked, known: asked.known ? 'true' : '', offset, limit: PAGE }, signal);
            if (!offset) {
                fill(list);
            }
            list.append(...found.results.map(result));
            const compared = found.compared ? `compared with a peer ${ago(found.compared)}` : 'not compared with a peer since the start';
            fill(above, h('p', { class: 'quiet' }, `${count(found.found, 'model')} of ${number(found.entries)} in the catalogue, ${compared}. `, terminal(command(asked))),
                found.found ? null : nothing(found.entries));
            const next = offset + found.results.length;
            // Equal content under other names is folded into one result, so the last page tells, and not the sum.
            fill(more, next < found.found && found.results.length === PAGE
                ? h('button', { type: 'button', 'data-key': 'more', on: { click: () => load(next) } }, `Show more (${number(next)} of ${number(found.found)} shown)`)
                : null);
        } catch (error) {
            const said = failure(error);
            if (said) {
                fill(above, said);
            }
        }
    };
    form.addEventListener('submit', (event) => {
        event.preventDefault();
        clearTimeout(timer);
        load();
    });
    form.addEventListener('input', () => {
        clearTimeout(timer);
        timer = setTimeout(() => load(), 300);
    });
    fill(root, head('Find', h('p', { class: 'quiet' }, 'Models that this node knows of; no other node learns what you look for')), form, rights.owner ? null : needsRights(), fill(above, waits('Reading the catalogue…')), list, more);
    load();
    return () => {
        asking.abort();
        clearTimeout(timer);
    };
}
