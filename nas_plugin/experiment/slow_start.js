'use strict';
// Required by guard.js in NNI's manager: a tuner may take minutes to start on a busy machine.
//
// NNI 3.0 gives the tuner's process ten seconds, of which importing nni takes two or more, and then
// puts the experiment into its error state. A tuner that has died is noticed by its exit, not by
// this limit.

const Module = require('node:module');

const SECONDS = 180;

function patient(server) {
  server.init = () => {
    if (server.connect.settled) return Promise.resolve();
    const late = setTimeout(() => {
      const message = `The tuner did not connect within ${SECONDS} s; see dispatcher.log.`;
      if (!server.connect.settled) server.connect.reject(new Error(message));
    }, SECONDS * 1000);
    late.unref();
    return server.connect.promise;
  };
  server.isPatient = true;
  return server;
}

const load = Module._load;
Module._load = function (request, parent, ...rest) {
  const loaded = load.call(this, request, parent, ...rest);
  if (/(^|\/)tuner_command_channel$/.test(request) && loaded.getTunerServer) {
    const server = loaded.getTunerServer();
    if (!server.isPatient) patient(server);
  }
  return loaded;
};
