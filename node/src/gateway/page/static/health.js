// Which models are in danger, who keeps models for others, and what audits cost.

import { get, post } from './api.js';
import { asks } from './change.js';
import { fill, h } from './dom.js';
import { badge, check, empty, facts, failure, field, head, modelLink, replicas, section, table, terminal, waits } from './parts.js';
import { ago, count, number, quoted, rate, size } from './words.js';

const GIB = 2 ** 30;
const ACTIONS = { take: 'being fetched', keep: 'kept', 'give-back': 'given back', leave: 'left alone' };

function state(model, target) {
    if (!model.audited) {
        return badge('not audited', '', 'It is not shared, or not whole');
    }
    if (model.endangered) {
        return badge('endangered', 'bad', 'Below its target for hours');
    }
    return model.replicas >= target ? badge('well kept', 'good') : badge('below target', 'warn', `It is to have ${target}`);
}

function donateForm() {
    return {
        heading: 'Donate disk space',
        words: h('p', null, 'The node keeps the scarcest models for others on this space, and gives it back at once when you need the disk.'),
        form: [
            field('GiB', h('input', { name: 'size', type: 'number', min: 1, value: '50', required: true })),
            field('Models', h('input', { name: 'scope', value: 'named', autocomplete: 'off' }), 'named: of publishers that you have named or follow; or PUBLISHER/MODELS; or * for all'),
            check('Keep models of strangers too, if the field above says so', 'confirmed', false),
        ],
        yes: 'Donate',
        make: ({ size: gib, scope, confirmed }) => {
            const bytes = Math.round(Number(gib) * GIB);
            if (!(bytes > 0) || !scope) {
                return { why: 'Say how much.' };
            }
            return {
                command: `reg donate ${Number(gib)}G --scope ${quoted(scope)}${confirmed ? ' --yes' : ''}`,
                run: async () => {
                    await post('/v1/donate', { size: bytes, scope, confirmed: Boolean(confirmed) });
                    return `Donating ${size(bytes)}`;
                },
            };
        },
    };
}

function stopForm() {
    return {
        heading: 'Donate no longer',
        words: h('p', null, 'What was kept for others alone is removed.'),
        form: check('Keep the models in the cache', 'keep', false),
        yes: 'Stop',
        kind: 'danger',
        make: ({ keep }) => ({
            command: `reg donate stop${keep ? ' --keep' : ' --yes'}`,
            run: async () => {
                await post('/v1/donate/stop', { keep: Boolean(keep) });
                return 'Nothing is donated any more';
            },
        }),
    };
}

function donations(report) {
    if (!report.settings) {
        return [
            empty('This node donates no disk space.', h('p', null, 'A donor keeps the models that would be lost first.'), h('p', null, terminal('reg donate 50G'))),
            h('div', { class: 'buttons' }, asks('Donate disk space', donateForm)),
        ];
    }
    const { settings, used, models, candidates, decided } = report;
    return [
        facts([
            ['Donated', `${size(settings.size)}, of which ${size(used)} are used`],
            ['Models of', settings.scope],
            ['Limit', settings.limit ? rate(settings.limit) : null],
            ['Since', ago(settings.since)],
            ['Considered', `${count(candidates, 'model')} elsewhere`],
            ['Last decision', decided ? ago(decided) : 'none yet'],
        ]),
        models.length
            ? table('Kept for others', [['Model', ''], ['Size', 'num'], ['Replicas', 'num'], ['Why', '']], models.map((it) => [
                  modelLink(it), size(it.bytes), number(it.replicas), `${ACTIONS[it.why.action] ?? it.why.action}: ${it.why.reason}`,
              ]))
            : h('p', { class: 'quiet' }, 'Nothing is kept for others yet.'),
        h('div', { class: 'buttons' }, asks('Change', donateForm), asks('Stop', stopForm, 'plain danger')),
    ];
}

export function show(root, { on }) {
    const body = h('div', null, waits('Counting replicas…'));
    const donating = h('div', null, waits('Reading what is donated…'));
    const load = async () => {
        try {
            const page = await get('/v1/page/health');
            const danger = page.models.filter((it) => it.endangered);
            const others = page.models.filter((it) => !it.endangered);
            const rows = (list) =>
                table('Replicas', [['Model', ''], ['Replicas elsewhere', ''], ['State', ''], ['Newest proof', 'mid']], list.map((it) => [
                    modelLink(it), replicas(it), state(it, page.target), it.newest_proof ? ago(it.newest_proof) : '',
                ]));
            fill(
                body,
                section(
                    `Endangered: ${number(page.endangered)}`,
                    danger.length
                        ? [h('p', null, 'These have had too few proven replicas for hours. Share them, or ask others to pull or donate.'), rows(danger)]
                        : empty('No model is endangered.', h('p', { class: 'quiet' }, page.audited ? 'Each has been at its target, or was below it for a short time only.' : 'No model is audited yet.')),
                ),
                section(
                    'All models',
                    page.auditing ? null : empty('This node does not count replicas.', h('p', null, 'A daemon with a network does, unless ', h('code', null, 'health.budget'), ' is 0.')),
                    others.length ? rows(others) : danger.length ? h('p', { class: 'quiet' }, 'No other whole model is here.') : empty('No whole model is here.', h('p', null, h('a', { href: '#/find' }, 'Find one'), ' and pull it.')),
                    page.all > page.models.length ? h('p', { class: 'quiet' }, `The ${number(page.models.length)} with the fewest replicas of ${count(page.all, 'model')}. `, terminal('reg health')) : null,
                ),
                section(
                    'Audits',
                    h('p', null, `A peer that says it holds a model is asked for random pieces. Its copy counts after ${count(page.passes_needed, 'piece')}; copies in one network count as one.`),
                    facts([
                        ['Target', count(page.target, 'replica')],
                        ['Audited', `${number(page.audited)} of ${count(page.all, 'model')}`],
                        ['Fetched in the last hour', `${size(page.fetched_last_hour)} of ${size(page.budget_per_hour)}`],
                    ]),
                ),
            );
        } catch (error) {
            fill(body, failure(error));
        }
        try {
            fill(donating, donations(await get('/v1/donate')));
        } catch (error) {
            fill(donating, failure(error));
        }
    };
    fill(root, head('Health', h('p', { class: 'quiet' }, 'How many copies are proven at other nodes')), body, section('Donated disk space', donating));
    load();
    on('store', load);
    on('changed', load);
}

