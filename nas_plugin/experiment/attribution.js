'use strict';
// Required by guard.js in NNI's manager: each trial gets the parameters that it was made for.
//
// NNI 3.0 pushes the parameters of new trials into one queue and hands them out in the order in
// which trials ask. Two trials that ask in another order than they were made exchange their
// parameters, and one that dies before it asks shifts those of all that follow; the portal, the
// export and the database then show rows that never ran. Here the parameters are filed under the
// trial's id when the trial is made; a request that comes before that waits.

// What each trial was given goes to <experiment>/nas_plugin/exits.jsonl, for those that die before
// they can say it themselves.

const { AsyncLocalStorage } = require('node:async_hooks');
const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');

const LOUD_AFTER = 60_000;

function record(globals, trial, parameters) {
  try {
    const { parameter_id: parameter, parameter_index: attempt } = JSON.parse(parameters);
    const file = path.join(globals.default.paths.experimentRoot, 'nas_plugin', 'exits.jsonl');
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const entry = { event: 'given', trial, parameter, attempt: attempt ?? 0 };
    fs.appendFileSync(file, `${JSON.stringify({ ...entry, time: Date.now() / 1000 })}\n`);
  } catch (error) {
    console.error(`nas_plugin guard: what trial ${trial} was given is not noted: ${error.message}`);
  }
}

// The tuner, which is started later, reads NAS_PLUGIN_ROWS and marks the rows without it.
function say() {
  process.env.NAS_PLUGIN_ROWS = 'exact';
}

function exact(Service, globals) {
  return class extends Service {
    constructor(...args) {
      super(...args);
      const methods = [this.v3?.createTrial, this.v3?.onRequestParameter, this.v3?.sendParameter];
      if (!Array.isArray(this.parameters) || methods.some((m) => typeof m !== 'function')) {
        return; // another NNI, which this does not fit: left as it is
      }
      say();
      this.parameters = { push: () => 0, length: 0 }; // nothing is handed out by order
      this.submitted = new AsyncLocalStorage();
      this.given = new Map(); // trial -> promise of its parameters, and what keeps it
      const create = this.v3.createTrial.bind(this.v3);
      this.v3.createTrial = async (...call) => {
        const trial = await create(...call);
        if (trial !== null) {
          const parameters = this.submitted.getStore();
          record(globals, trial, parameters);
          this.of(trial).keep(parameters);
        }
        return trial;
      };
      const onRequest = this.v3.onRequestParameter.bind(this.v3);
      this.v3.onRequestParameter = () => onRequest(async (trial) => this.send(trial));
    }

    submitTrialJob(form) {
      if (!this.submitted) return super.submitTrialJob(form);
      return this.submitted.run(form.hyperParameters.value, () => super.submitTrialJob(form));
    }

    of(trial) {
      if (!this.given.has(trial)) {
        const entry = {};
        entry.value = new Promise((keep) => { entry.keep = keep; });
        this.given.set(trial, entry);
      }
      return this.given.get(trial);
    }

    async send(trial) {
      const late = setTimeout(
        () => console.error(`nas_plugin guard: trial ${trial} asked, but nothing was made for it`),
        LOUD_AFTER,
      );
      late.unref();
      const parameters = await this.of(trial).value;
      clearTimeout(late);
      await this.v3.sendParameter(trial, parameters);
    }
  };
}

// Services that file parameters under their trial by themselves: of reused machines, of Kubernetes.
const EXACT_ALREADY = /(^|\/)(routerTrainingService|(kubeflow|frameworkcontroller)TrainingService)$/;

delete process.env.NAS_PLUGIN_ROWS; // of a manager in whose trial this one was started
const load = Module._load;
Module._load = function (request, parent, ...rest) {
  const loaded = load.call(this, request, parent, ...rest);
  if (/(^|\/)compat$/.test(request) && loaded.V3asV1 && !loaded.V3asV1.isExact) {
    loaded.V3asV1 = exact(loaded.V3asV1, load.call(this, 'common/globals', parent));
    loaded.V3asV1.isExact = true;
  } else if (EXACT_ALREADY.test(request)) {
    say();
  }
  return loaded;
};
