// One model: what it is, what is proven of it, which rules apply, and what can be done with it.

import { get, long, post, rights } from './api.js';
import { act, asks, needsRights } from './change.js';
import { fill, h } from './dom.js';
import { badge, empty, facts, failure, head, id, modelLink, replicas, section, states, sum, table, tableRow, waits } from './parts.js';
import { follow, name as nameIt, pull, share } from './offers.js';
import { proof } from './proof.js';
import { pieces } from './pieces.js';
import { card, of } from './transfers.js';
import { ago, count, date, number, quoted, reference, short, size, title } from './words.js';

const FILES = 100;
const RESULTS = { pass: ['pass', 'good'], note: ['note', 'warn'], not_done: ['not done', ''], deny: ['refused', 'bad'] };

function checks(list) {
    return table('Checks', [['Check', ''], ['Result', ''], ['Why', '']], list.map((it) => {
        const [text, kind] = RESULTS[it.result] ?? [it.result, ''];
        return [it.check, badge(text, kind), it.detail];
    }));
}

const joined = (list) => (list?.length ? list.join(', ') : null);

function computed({ metadata, kinds }) {
    const { computed: it } = metadata;
    return facts([
        ['Formats', joined(it.formats)],
        ['Parameters', it.parameters ? number(it.parameters) : null],
        ['Architecture', it.architecture],
        ['Type', it.model_type],
        ['Context', it.context_length ? `${number(it.context_length)} tokens` : null],
        ['Numbers', it.dtype],
        ['Quantisation', it.quantization ? [it.quantization.method, it.quantization.bits ? `${it.quantization.bits} bits` : null].filter(Boolean).join(', ') : null],
        ['Chat template', it.chat_template ? 'it has one' : null],
        ['Kinds of files', Object.entries(kinds ?? {}).map(([kind, many]) => `${kind}: ${many}`).join(', ')],
        ['More than data', joined(Object.entries(it.risky ?? {}).map(([path, kind]) => `${path} (${kind})`))],
        ['Runs remote code', it.remote_code ? 'if its loader is told to trust it' : null],
        ['Missing files', joined(it.missing)],
        ['Not what their names say', joined(Object.keys(it.hollow ?? {}))],
    ]);
}

function claimed({ metadata, claims, mirror, profile }) {
    const { claimed: it } = metadata;
    return facts([
        ['Title', claims?.title ?? it.name],
        ['Description', claims?.description],
        ['Licence', joined([...new Set([...(claims?.licenses ?? []), ...(it.licenses ?? [])])])],
        ['Task', it.pipeline_tag],
        ['Languages', joined(it.languages)],
        ['Library', it.library_name],
        ['Datasets', joined(it.datasets)],
        ['Version', claims?.version],
        ['Source', claims?.source_url],
        ['Copied from', mirror ? `${mirror.repository} at ${mirror.endpoint}, commit ${short(mirror.commit)}` : null],
        ['Publisher says of itself', profile?.name ?? profile?.profile?.name],
    ]);
}

function vouches(list) {
    if (!list.length) {
        return empty('Nobody has attested anything about it.', h('p', { class: 'quiet' }, 'An attestation counts only if you have named its attestor.'));
    }
    return table('Attestations', [['By', ''], ['Kind', ''], ['Result', ''], ['When', 'mid'], ['Remark', 'far']], list.map((it) => [
        it.petname ?? id(it.by),
        it.kind,
        badge(it.result, it.result === 'pass' ? 'good' : it.result === 'fail' ? 'bad' : ''),
        ago(it.issued),
        [it.tool, it.note].filter(Boolean).join('; '),
    ]));
}

function lineage({ bases, derived, derived_tags: many }) {
    if (!bases.length && !derived.length) {
        return empty('It names no base model, and no model of the catalogue names it.');
    }
    const one = (it) => h('li', null, modelLink(it), it.is_here ? [' ', badge('here', 'good')] : null);
    return [
        bases.length ? [h('h3', null, 'Derived from, as its publisher says'), h('ul', null, bases.map((it) => (it.model ? one(it.model) : h('li', null, it.name))))] : null,
        derived.length ? [h('h3', null, 'Derived from it, as their publishers say'), h('ul', null, derived.slice(0, 50).map(one)), many > derived.length ? h('p', { class: 'quiet' }, `${number(many)} tags in all`) : null] : null,
    ];
}

function fileTable(files) {
    const columns = [['File', ''], ['Size', 'num'], ['SHA-256', 'mid'], ['Here', '']];
    const row = (it) => [h('code', null, it.path), size(it.size), sum(it.digest), it.here ? badge('here', 'good') : badge('missing', 'warn')];
    const made = table('Files', columns, files.slice(0, FILES).map(row));
    const body = made.querySelector('tbody');
    let shown = Math.min(FILES, files.length);
    const more = h('button', { type: 'button' }, 'Show more files');
    more.addEventListener('click', () => {
        body.append(...files.slice(shown, shown + FILES).map((it) => tableRow(columns, row(it))));
        shown = Math.min(shown + FILES, files.length);
        more.hidden = shown >= files.length;
    });
    more.hidden = shown >= files.length;
    return [made, more];
}

function history(log) {
    const rows = [...log.records].reverse().slice(0, 50).map(({ record, seen, void: why, is_here: here, peers }) => [
        `number ${record.seq}`,
        date(record.issued),
        sum(record.manifest?.digest ?? record.manifest),
        [here ? badge('here', 'good') : null, why ? badge('void', 'bad', why) : null, ' ', peers ? `at ${count(peers, 'peer')}` : ''],
        seen ? `seen ${ago(seen)}` : '',
    ]);
    return [
        log.frozen ? h('p', { class: 'failure' }, 'Two records contradict each other: the tag is frozen until its publisher settles it.') : null,
        table('Records of the tag', [['Record', ''], ['Signed', 'num'], ['Manifest', 'mid'], ['Where', ''], ['Seen', 'far']], rows),
    ];
}

function controls(about, again) {
    const { summary } = about;
    const name = reference(summary);
    const [word, body] = [quoted(name), { reference: name }];
    const behind = Object.keys(summary.behind ?? {});
    const model = `${summary.petname ?? summary.publisher}/${summary.model}`;
    const lacks = behind.length ? 'Pull the newer version' : 'Pull the rest';
    const isRunning = of(summary).length > 0;
    return h(
        'div',
        { class: 'buttons' },
        !isRunning && (behind.length || !summary.here) ? asks(lacks, () => pull(behind.length ? `${model}:${behind[0]}` : name), 'main') : null,
        summary.pinned
            ? act({ text: 'Unpin', path: '/v1/unpin', body, command: `reg unpin ${word}`, done: `${name} may be evicted`, then: again, key: 'pin' })
            : act({ text: 'Pin', path: '/v1/pin', body, command: `reg pin ${word}`, done: `${name} is kept`, then: again, key: 'pin' }),
        summary.followed ? null : asks('Follow', () => follow(summary.petname ?? summary.publisher, summary.model)),
        summary.petname ? null : asks('Name its publisher', () => nameIt(summary.publisher)),
        asks('Share', () => share(name)),
        asks(
            'Remove',
            () => ({
                heading: `Remove ${name}`,
                words: h('p', null, 'The model, its tags and the files that no other model needs leave this node. Peers keep theirs.'),
                yes: 'Remove',
                kind: 'danger',
                make: () => ({
                    command: `reg rm ${word}`,
                    run: async () => {
                        const { bytes } = await post('/v1/remove', body);
                        location.hash = '#/models';
                        return `Removed ${name}: ${size(bytes)} are free`;
                    },
                }),
            }),
            'plain danger',
        ),
    );
}

/** Shows a model that the store has. */
async function here(root, about, again, running, atRest) {
    const { summary } = about;
    const [publisher, model] = title(summary);
    const [files, keys, health, log, rules] = await Promise.all([
        get('/v1/files', { reference: about.reference }).catch(() => null),
        get('/v1/publisher', { publisher: summary.publisher }).catch(() => null),
        get('/v1/health', { reference: about.reference }).catch(() => null),
        // A model that is still on its way has no tag, and so no log.
        about.seq === null ? null : get('/v1/log', { reference: about.reference }).catch(() => null),
        get('/v1/trust/all').catch(() => null),
    ]);
    const counted = health?.models?.find((it) => it.manifest === summary.manifest);
    const holders = counted?.holders ?? [];
    fill(
        root,
        head(h('span', null, h('span', { class: 'of' }, `${publisher}/`), h('wbr'), model), h('div', { class: 'badges' }, states(summary))),
        h('p', { class: 'lead' }, (summary.tags ?? []).map((it) => h('span', { class: 'tag' }, it)), ' ', `${size(summary.bytes)} in ${count(summary.files, 'file')}, `, sum(summary.manifest)),
        summary.withdrawn ? h('p', { class: 'failure' }, `Its publisher has withdrawn it: ${summary.withdrawn}`) : null,
        running,
        controls(about, again),
        rights.owner ? null : needsRights(),
        section(
            'What it is',
            h(
                'div',
                { class: 'two' },
                h('div', { class: 'pane' }, h('h3', null, 'Computed from the files'), computed(about)),
                h('div', { class: 'pane claim' }, h('h3', null, 'Claimed by its publisher'), claimed(about)),
            ),
        ),
        section('Chain of proof', h('p', { class: 'quiet' }, 'Each step proves the next one. This node has followed all of them itself.'), proof({ ...about, files }, keys)),
        section('Files', files ? fileTable(files) : waits('The files are not known.'), atRest),
        section(
            'Replicas elsewhere',
            counted ? h('p', null, replicas(counted)) : empty('Nothing is counted of it.'),
            holders.length
                ? table('Holders', [['Peer', ''], ['Proven', ''], ['Pieces given', 'num'], ['Where', 'mid']], holders.map((it) => [
                      id(it.peer, 16),
                      it.proven ? badge('proven', 'good') : it.failed ? badge(it.failed === 'wrong' ? 'sent wrong bytes' : 'did not give a piece', 'bad') : badge('not yet', ''),
                      number(it.passes),
                      it.zone,
                  ]))
                : null,
        ),
        section('Who vouches for it', vouches(about.attestations ?? [])),
        section('Rules that apply', checks(about.checks ?? []), ruleList(rules?.rules ?? [])),
        section('Lineage', lineage(about.lineage ?? { bases: [], derived: [] })),
        log ? section('History of the tag', history(log)) : null,
    );
}

function ruleList(rules) {
    return rules.length
        ? [h('h3', null, 'Your rules'), h('ul', null, rules.map((it) => h('li', null, h('code', null, it.models), `: ${it.requires.join('; ') || 'nothing more'}`)))]
        : h('p', { class: 'quiet' }, 'You have set no rule. ', h('a', { href: '#/trust' }, 'Set one'), '.');
}

/** Shows a model that the store lacks: what peers can prove of it, and what a pull would cost. */
async function elsewhere(root, name, running, signal) {
    fill(
        root,
        head(name, badge('not in the store', '')),
        rights.owner ? waits('Asking peers what they can prove of it…') : empty('This node does not have the model.', needsRights()),
    );
    if (!rights.owner) {
        return;
    }
    const note = (it) => it.event === 'stage' && fill(root, head(name, badge('not in the store', '')), waits(`The node is ${it.stage}…`));
    const looked = await long('/v1/look', { reference: name }, note, signal);
    const { planned } = looked;
    fill(
        root,
        head(name, badge('not in the store', '')),
        h('p', { class: 'lead' }, `${size(planned.model_bytes)} in ${count(planned.model_files, 'file')}; ${count(looked.peers, 'peer')} may have it. `, sum(planned.manifest)),
        running,
        h('div', { class: 'buttons' }, asks('Pull', () => pull(name), 'main'), looked.petname ? null : asks('Name its publisher', () => nameIt(looked.publisher))),
        section('What is proven', checks(looked.checks)),
        section('Who vouches for it', vouches(looked.attestations)),
        section('Files', fileTable(planned.entries.map((it) => ({ ...it, here: it.bytes_to_fetch === 0 })))),
        section('Lineage', lineage(looked.lineage ?? { bases: [], derived: [] })),
    );
}

export function show(root, { argument, on }) {
    const name = argument;
    const asking = new AbortController();
    const running = h('div', { class: 'cards' });
    const body = h('div');
    let shown = null;
    let about = null;
    let atRest = null;
    const rest = (summary) => {
        atRest?.stop();
        atRest = summary.here || of(summary).length ? null : pieces(summary.manifest);
        return atRest?.root;
    };
    const update = () => {
        const [transfer] = about ? of(about) : [];
        if (!transfer && shown) {
            shown.stop();
            fill(running);
            shown = null;
            load();
        } else if (transfer && !shown) {
            shown = card(transfer, true);
            fill(running, shown.root);
        } else if (transfer) {
            shown.update(transfer);
        }
    };
    const load = async () => {
        try {
            const found = await get('/v1/page/model', { reference: name }, asking.signal);
            if (found) {
                about = found.summary;
                await here(body, found, load, running, rest(about));
            } else {
                const [publisher, model] = name.split(/[:@]/)[0].split('/');
                about = { publisher, model: model ?? '' };
                update();
                await elsewhere(body, name, running, asking.signal);
            }
        } catch (error) {
            const said = failure(error);
            if (said) {
                fill(body, head(name), said, h('p', null, h('a', { href: '#/find' }, 'Find another one')));
            }
        }
        update();
    };
    fill(body, head(name), waits('Reading what is known of it…'));
    fill(root, body);
    load();
    on('transfers', update);
    on('changed', load);
    return () => {
        asking.abort();
        shown?.stop();
        atRest?.stop();
    };
}
