// What the user has said: names, rules, lists, follows, and the keys of publishers.

import { get, long, post, rights } from './api.js';
import { act, asks, needsRights } from './change.js';
import { fill, h } from './dom.js';
import { badge, check, empty, failure, field, head, id, section, select, table, terminal, waits } from './parts.js';
import { follow, name as nameIt } from './offers.js';
import { ago, count, date, number, quoted, short, span } from './words.js';

const KINDS = [['', 'none'], ['scan', 'scan'], ['review', 'review'], ['licence', 'licence'], ['mirror', 'mirror']];
const words = (text) => (text ?? '').split(/[\s,]+/).filter(Boolean);

function ruleForm(models) {
    return {
        heading: 'Set a rule',
        words: h('p', null, 'A model that the rule is for and that does not meet it is neither fetched nor served.'),
        form: [
            field('Models', h('input', { name: 'models', value: models ?? '*/*', required: true, autocomplete: 'off', spellcheck: 'false' }), 'A publisher or *, a slash, and a pattern'),
            check('Its publisher must have a name of yours', 'known', false),
            check('No older version may stand in for the newest', 'newest', false),
            field('Licences', h('input', { name: 'licenses', autocomplete: 'off', placeholder: 'apache-2.0 mit' }), 'One of these must be claimed; empty: any'),
            field('Kinds of files', h('input', { name: 'formats', autocomplete: 'off', placeholder: 'safetensors json text' }), 'Only these, by their bytes; empty: any. reg formats lists them'),
            field('Attested', select('kind', KINDS, '')),
            field('by how many', h('input', { name: 'count', type: 'number', min: 1, max: 20, value: '1' }), 'Of the publishers that you have named'),
        ],
        yes: 'Set the rule',
        make: ({ models: of, known, newest, licenses, formats, kind, count: many }) => {
            const rule = {
                models: of,
                'known-publisher': Boolean(known),
                newest: Boolean(newest),
                licenses: words(licenses),
                formats: words(formats),
                attestations: kind ? [{ kind, count: Number(many) || 1 }] : [],
            };
            const flags = [
                known ? '--known-publisher' : null,
                newest ? '--newest' : null,
                ...rule.licenses.map((it) => `--license ${quoted(it)}`),
                ...rule.formats.map((it) => `--format ${quoted(it)}`),
                kind ? `--attested ${kind}=${rule.attestations[0].count}` : null,
            ].filter(Boolean);
            if (!of || !flags.length) {
                return { why: 'Say for which models, and what they must have.' };
            }
            return {
                command: `reg trust require ${quoted(of)} ${flags.join(' ')}`,
                run: async () => {
                    await post('/v1/trust/require', rule);
                    return `The rule for ${of} holds from now on`;
                },
            };
        },
    };
}

function waive(models) {
    return {
        heading: `Remove the rules for ${models}`,
        words: h('p', null, 'Models of this scope are judged by your other rules only.'),
        yes: 'Remove',
        kind: 'danger',
        make: () => ({
            command: `reg trust waive ${quoted(models)}`,
            run: async () => `${count(await post('/v1/trust/waive', { models }), 'rule')} removed`,
        }),
    };
}

function listForm() {
    return {
        heading: 'Subscribe to a denylist',
        words: h('p', null, 'What the list names is neither fetched nor served, unless you allow it. Its publisher decides what it names.'),
        form: field('List', h('input', { name: 'name', required: true, autocomplete: 'off', placeholder: 'publisher/denylist' })),
        yes: 'Subscribe',
        make: ({ name }) =>
            name
                ? {
                      command: `reg trust subscribe ${quoted(name)}`,
                      run: async (tell) => {
                          const entries = await long('/v1/trust/subscribe', { name, on: true }, (it) => it.event === 'stage' && tell(`The node is ${it.stage}…`));
                          return `Subscribed to ${name}: ${count(entries, 'entry', 'entries')}`;
                      },
                  }
                : { why: 'Name a list.' },
    };
}

function unname(petname) {
    return {
        heading: `Remove the name ${petname}`,
        words: h('p', null, 'Rules and commands that use the name no longer mean this publisher.'),
        yes: 'Remove',
        kind: 'danger',
        make: () => ({
            command: `reg trust rm ${quoted(petname)}`,
            run: async () => {
                await post('/v1/trust/remove', { petname });
                return `${petname} is no name any more`;
            },
        }),
    };
}

/** The keys of a publisher with their branches, read when they are opened. */
function keys(publisher) {
    const body = h('div');
    const details = h('details', null, h('summary', null, 'Keys'), body);
    details.addEventListener('toggle', async () => {
        if (!details.open) {
            return;
        }
        fill(body, waits('Reading what is remembered…'));
        try {
            const [report, branches] = await Promise.all([get('/v1/publisher', { publisher }), get('/v1/trust/branches', { publisher }).catch(() => null)]);
            const revoked = report.revocations.map((it) => h('li', null, `${date(it.issued)}: ${it.reason ?? 'revoked'}`));
            fill(
                body,
                report.key_document === null
                    ? empty('No key document was seen yet.', h('p', { class: 'quiet' }, 'A pull or a search brings it.'))
                    : h('p', null, `Key document, version ${report.key_document}: ${count(report.threshold, 'key')} of ${number(report.keys.length)} must sign.`),
                h('ul', { class: 'keys' }, report.keys.map((it) => h('li', null, id(it, 28)))),
                revoked.length ? [h('h4', null, 'Revocations'), h('ul', null, revoked)] : null,
                branches && branches.branches.length > 1
                    ? [
                          h('p', { class: 'failure' }, 'There are two branches of its keys: a thief may have signed one of them. Ask the publisher another way.'),
                          h('ul', null, branches.branches.map((it) => h('li', null, id(it.head, 20), ` version ${it.version}${it.is_followed ? ', followed' : ''}${it.is_dead ? ', dead' : ''}`))),
                          h('p', null, terminal(`reg trust accept ${short(publisher, 60)}`)),
                      ]
                    : null,
            );
        } catch (error) {
            fill(body, failure(error));
        }
    });
    return details;
}

const VERSION = {
    waiting: (it) => [`waits until ${date(it.until)}`, ''],
    here: (it) => [`here since ${ago(it.since)}`, 'good'],
    failed: (it) => [`failed ${count(it.times, 'time')}: ${it.why}`, 'bad'],
    passed: () => ['passed over', ''],
};

function followed(it, again) {
    const name = it.petname ?? it.publisher;
    const what = it.models === '*' ? name : `${name}/${it.models}`;
    const which = { publisher: it.publisher, models: it.models };
    const word = quoted(what);
    return h(
        'article',
        { class: 'card' },
        h('div', { class: 'card-top' }, h('h3', null, it.petname ?? short(it.publisher), '/', it.models), it.paused ? badge('paused', 'warn') : null),
        it.fault ? h('p', { class: 'failure' }, it.fault) : null,
        h('p', { class: 'quiet' }, `Keeps ${count(it.settings.keep, 'version')}, waits ${span(it.settings.delay)}, since ${ago(it.since)}`),
        it.versions.length
            ? h('ul', null, it.versions.slice(0, 12).map((one) => {
                  const [text, kind] = (VERSION[one.state.is] ?? (() => ['', '']))(one.state);
                  return h('li', null, `${one.model}:${one.tag} number ${one.seq} `, badge(text, kind), one.gone ? badge('not here any more', 'warn') : null);
              }))
            : h('p', { class: 'quiet' }, 'No version was heard of yet.'),
        h(
            'div',
            { class: 'buttons' },
            it.paused
                ? act({ text: 'Resume', path: '/v1/follow/pause', body: { followed: which, paused: false }, command: `reg follow resume ${word}`, done: `Following ${what} again`, then: again, key: `f ${what}` })
                : act({ text: 'Pause', path: '/v1/follow/pause', body: { followed: which, paused: true }, command: `reg follow pause ${word}`, done: `Paused ${what}`, then: again, key: `f ${what}` }),
            act({ text: 'Follow no longer', path: '/v1/follow/remove', body: which, command: `reg follow rm ${word}`, done: `${what} is followed no longer; what was pulled stays`, then: again, kind: 'plain danger', key: `r ${what}` }),
        ),
    );
}

function names(report) {
    if (!report.petnames.length) {
        return empty('You have named no publisher.', h('p', null, 'A name makes ', h('code', null, 'name/model'), ' mean one publisher for ever. Ask the publisher for its id.'), h('p', null, terminal('reg trust add NAME ID')));
    }
    return table('Names', [['Name', ''], ['Publisher', ''], ['', '']], report.petnames.map((it) => [
        it.petname,
        [id(it.publisher, 16), it.revocations.length ? [' ', badge(count(it.revocations.length, 'revocation'), 'warn')] : null, keys(it.publisher)],
        asks('Remove', () => unname(it.petname), 'plain danger'),
    ]));
}

function rules(report) {
    if (!report.rules.length) {
        return empty('You have set no rule: every model with valid signatures is accepted.', h('p', null, 'A good first one asks for publishers that you have named:'), h('p', null, terminal("reg trust require '*/*' --known-publisher")));
    }
    return h('ul', { class: 'cards bare' }, report.rules.map((it) =>
        h('li', { class: 'card' }, h('div', { class: 'card-top' }, h('h3', null, h('code', null, it.models))), h('ul', null, it.requires.map((one) => h('li', null, one))),
            h('div', { class: 'buttons' }, asks('Change', () => ruleForm(it.models), 'plain'), asks('Remove', () => waive(it.models), 'plain danger')))));
}

function lists(report, again) {
    return [
        report.denylists.length
            ? h('ul', { class: 'lines' }, report.denylists.map((it) =>
                  h('li', null, h('code', null, it), act({ text: 'Unsubscribe', path: '/v1/trust/unsubscribe', body: { name: it, on: false }, command: `reg trust unsubscribe ${quoted(it)}`, done: `${it} counts no longer`, then: again, kind: 'plain danger', key: `u ${it}` }))))
            : empty('You have subscribed to no denylist.', h('p', null, 'A list of a publisher whose judgement you trust keeps out what it warns of.')),
        report.denied ? h('p', { class: 'quiet' }, `They warn of ${number(report.denied)} models, files and publishers.`) : null,
        report.allowed.length ? h('p', null, 'Allowed nevertheless: ', report.allowed.map((it) => [id(it, 16), ' '])) : null,
        report.notes.map((it) => h('p', { class: 'quiet' }, it)),
    ];
}

export function show(root, { on }) {
    const body = h('div', null, waits('Reading what you have said…'));
    const load = async () => {
        try {
            const [report, follows] = await Promise.all([get('/v1/trust/all'), get('/v1/follow')]);
            fill(
                body,
                section('Names', names(report), h('div', { class: 'buttons' }, asks('Name a publisher', () => nameIt()))),
                report.domains.length ? section('Domains', h('ul', { class: 'lines' }, report.domains.map((it) => h('li', null, it.domain, ' ', id(it.publisher, 16))))) : null,
                section('Rules', rules(report), h('div', { class: 'buttons' }, asks('Set a rule', () => ruleForm()))),
                section('Denylists', lists(report, load), h('div', { class: 'buttons' }, asks('Subscribe', listForm))),
                section('Followed publishers',
                    follows.length ? h('div', { class: 'cards' }, follows.map((it) => followed(it, load))) : empty('You follow no publisher.', h('p', null, 'The node pulls new versions of those that you follow by itself.'), h('p', null, terminal('reg follow PUBLISHER'))),
                    h('div', { class: 'buttons' }, asks('Follow a publisher', () => follow()))),
                report.collections?.length ? section('Collections', h('ul', { class: 'lines' }, report.collections.map((it) => h('li', null, h('code', null, it))))) : null,
                report.aliases.length ? section('Aliases', h('ul', { class: 'lines' }, report.aliases.map((it) => h('li', null, h('code', null, it.from), ' means ', h('code', null, it.to))))) : null,
            );
        } catch (error) {
            fill(body, failure(error));
        }
    };
    fill(root, head('Trust', h('p', { class: 'quiet' }, 'Only what you say here gives weight to others')), rights.owner ? null : needsRights(), body);
    load();
    on('changed', load);
}
