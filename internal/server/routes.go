package server

import (
	"net/http"

	"ledgerd/internal/api"
)

// A handler answers a request whose token has the right that its route asks
// for. The grant is nil where the route asks for none and no token came.
type handler func(w http.ResponseWriter, r *http.Request, g *Grant)

// rightAny asks for a token, whatever its rights: the handler looks closer.
const rightAny api.Right = "any"

// A route is one line of the table that is both the multiplexer and the OpenAPI
// document.
type route struct {
	method, path string
	right        api.Right // "": none, nor a token
	log          bool      // of the log itself: open where the log is public
	handle       handler
	summary      string
	params       []param
	body         []media // what may be sent
	ok           int     // status of success
	answer       []media // what comes back
	problems     []int   // besides 401, 403 and 404, which the table adds itself
	unchanged    bool    // it may answer 304, without a body
}

// A param is a query parameter or a header. Those of the path are read from it.
type param struct {
	in, name, doc string
	kind          string // string, integer, boolean
	required      bool
}

// A media is a media type and, where it is JSON, a value of the Go type.
type media struct {
	kind  string
	value any
}

func query(name, kind, doc string) param { return param{in: "query", name: name, kind: kind, doc: doc} }

// table is every route that is served.
func (s *Server) table() []route {
	json := func(v any) []media { return []media{{api.MediaJSON, v}} }
	page := []param{
		query("after", "integer", "Only records beyond this index: next of the page before"),
		query("limit", "integer", "At most so many, 1 to 1,000; 100 where absent"),
	}
	filter := append([]param{
		query("actor", "string", "Who the record speaks for"),
		query("action", "string", "Action of an authorization or execution"),
		query("parent", "string", "Evidence ID that a run.opened names as its parent"),
		query("offer", "string", "Evidence ID of the offer that a handoff.accepted accepts"),
		query("known", "string", "Origin of another ledger: only the handoff.accepted that names the largest tree head of it"),
		query("kind", "string", "Kind of the record"),
		query("from", "string", "Not before this time (RFC 3339), by the record's own clock"),
		query("to", "string", "Before this time"),
	}, page...)
	bundle := []param{
		query("run", "string", "The run that the bundle is about"),
		query("record", "string", "Or else the evidence ID of a record, with its run up to it"),
		query("offer", "string", "Or else that of an offer, with the giver's run up to it"),
		query("from", "string", "Or else the first index of a range; or a time (RFC 3339)"),
		query("to", "string", "Index after the last of a range; or a time; the durable size where absent"),
		query("payloads", "string", "hidden: without payloads, which need the right payloads; without-handoffs: without the bundles that acceptances of handoffs commit to"),
		query("head", "string", "A tree head that this log signed before (the signed note, base64url): the bundle proves that the newest extends it"),
	}
	record := func(r route) route { r.problems = append(r.problems, 408, 413, 415, 503); return r }
	return []route{
		record(route{
			method: "POST", path: api.PathRecords, right: rightAny, handle: s.postRecords,
			summary: "Append one record (application/jose), or many, one a line (application/jose-seq). " +
				"The answer comes once they are durable, ordered and provable: 201 where new, 200 where the same bytes stood there before. " +
				"Many are answered line by line, 207 where some were refused",
			body: []media{{api.MediaJOSE, nil}, {api.MediaLines, nil}}, ok: http.StatusCreated,
			answer: []media{{api.MediaJSON, api.Placed{}}, {api.MediaJSONLines, api.Line{}}}, problems: []int{400, 409, 422, 500, 507},
		}),
		{
			method: "GET", path: api.PathRecords, right: api.RightRead, handle: s.findRecords,
			summary: "Find records, in the order of the log", params: filter, ok: 200, answer: json(api.Page{}), problems: []int{400},
		},
		{
			method: "GET", path: api.PathRecord, right: api.RightRead, handle: s.getRecord,
			summary: "One record, as JSON or, for Accept: application/jose, as the entry itself",
			ok:      200, answer: []media{{api.MediaJSON, api.Record{}}, {api.MediaJOSE, nil}},
		},
		{
			method: "GET", path: api.PathRuns, right: api.RightRead, handle: s.listRuns,
			summary: "Runs, in the order in which they were opened", params: page, ok: 200, answer: json(api.Runs{}), problems: []int{400},
		},
		{
			method: "GET", path: api.PathRun, right: api.RightRead, handle: s.getRun,
			summary: "What the index knows of a run", ok: 200, answer: json(api.Run{}),
		},
		s.agentRoute(route{
			method: "PUT", path: api.PathRun, handle: s.openRun, body: json(api.OpenRun{}), answer: json(api.RunState{}),
			summary: "Open the run that a key of the caller's stands for, or resume it, and say where it stands. A key has letters, digits and any of -._~!$&'()*+,;=:@, and does not begin with run_",
		}),
		s.agentRoute(route{
			method: "PUT", path: api.PathStep, handle: s.askStep, body: json(api.AskStep{}), answer: json(api.Step{}),
			summary: "Ask for permission to do a step, or learn what it came to. What is asked again goes on from what is recorded",
			params:  []param{query("wait", "string", "How long to wait for a human's answer, such as 30s; at most 5m. Absent: not at all")},
		}),
		s.agentRoute(route{
			method: "GET", path: api.PathStep, handle: s.getStep, answer: json(api.Step{}),
			summary: "What is recorded of a step, with its outcome. Nothing is asked, and nothing recorded",
		}),
		s.agentRoute(route{
			method: "PUT", path: api.PathOutcome, handle: s.reportStep, body: json(api.ReportStep{}), answer: json(api.Outcome{}),
			summary: "Report what came of an attempt at a step whose tool the agent runs itself. The same report again is the same record; another one is a conflict, but for one that ends a doubt",
		}),
		s.agentRoute(route{
			method: "POST", path: api.PathRunStep, handle: s.runStep, body: json(api.RunStep{}), answer: json(api.Step{}),
			summary: "Have the daemon do a step with a registered tool: permission check, call, record. What is recorded is answered, and not done again. " +
				"With Accept: text/event-stream it tells what the call has to tell meanwhile (events progress), and at last the step (event step) or a problem (event problem)",
		}),
		s.agentRoute(route{
			method: "PUT", path: api.PathDecision, handle: s.putDecision, body: json(api.Decide{}), answer: json(api.Decision{}),
			summary: "Record what a model answered. Read it first: what is decided need not be asked again",
		}),
		s.agentRoute(route{
			method: "GET", path: api.PathDecision, handle: s.getDecision, answer: json(api.Decision{}),
			summary: "What was decided under a name",
		}),
		s.agentRoute(route{
			method: "POST", path: api.PathContext, handle: s.postContext, body: json(api.LayContext{}), answer: json(api.Laid{}),
			summary: "Record what is laid before a model. The same as the last time is the same record",
		}),
		s.agentRoute(route{
			method: "PUT", path: api.PathCheckpoint, handle: s.putCheckpoint, body: json(nil), answer: json(api.Checkpoint{}),
			summary: "Save the agent's state, any JSON value of at most 1 MiB, under a name, once",
		}),
		s.agentRoute(route{
			method: "GET", path: api.PathLast, handle: s.getCheckpoint, answer: json(api.Checkpoint{}),
			summary: "The last checkpoint, with its state",
		}),
		s.agentRoute(route{
			method: "POST", path: api.PathClaims, handle: s.postClaim, body: json(api.MakeClaim{}), answer: json(api.Claim{}),
			summary: "Say that something is done, and have it checked against the evidence. The same claim, with nothing done since, is the same record",
		}),
		s.agentRoute(route{
			method: "POST", path: api.PathOffers, handle: s.postOffer, body: json(api.MakeOffer{}), answer: json(api.Offer{}),
			summary: "Offer work of the run to another agent. The same offer again is the one that stands. Where a peer has the receiver's ledger, it is sent there",
		}),
		s.agentRoute(route{
			method: "POST", path: api.PathTakeUp, handle: s.takeUp, body: json(api.TakeUp{}), answer: json(api.TakenUp{}),
			summary: "Accept an offer for a run that is open, and have it take that up: what comes back of work that was handed out. Claims rest on it from then on. The same offer again is the same record",
		}),
		{
			method: "GET", path: api.PathHandoffs, right: api.RightRead, handle: s.listHandoffs, params: page,
			summary: "Offers, acceptances and rejections, in the order of the log, how far each has come on its way, and the offers that wait here",
			ok:      200, answer: json(api.Handoffs{}), problems: []int{400, 501, 503},
		},
		{
			method: "GET", path: api.PathHandoff, right: rightAny, handle: s.getHandoff,
			summary: "An offer to an agent of this ledger, verified anew. Needs the right read, and payloads for what is handed over; or act, as the agent that it is for",
			ok:      200, answer: json(api.Offered{}), problems: []int{409, 422, 501},
		},
		{
			method: "GET", path: api.PathHandoffBundle, right: rightAny, handle: s.getHandoffBundle,
			summary: "The bundle about such an offer, as it came: for an agent with a key of its own. Needs the rights read and payloads; or act, as the agent that it is for",
			ok:      200, answer: []media{{api.MediaBundle, nil}}, problems: []int{501},
		},
		s.agentRoute(route{
			method: "POST", path: api.PathHandoffReject, handle: s.rejectHandoff, body: json(api.RejectOffer{}), answer: json(api.Rejection{}),
			summary: "Record that the agent does not accept an offer that waits for it: for what is wrong with it, or because of a word of its own",
		}),
		{
			method: "POST", path: api.PathHandoffSend, right: api.RightAdminister, handle: s.sendHandoff,
			summary: "Send an offer or an acceptance of this ledger to its peer now, also where the peer refused it before", ok: http.StatusNoContent, problems: []int{501},
		},
		{
			method: "GET", path: api.PathPeers, right: api.RightAdminister, handle: s.listPeers,
			summary: "Peers: those whose handoffs are taken, and to whom they are sent", ok: 200, answer: json(api.Peers{}), problems: []int{501},
		},
		record(route{
			method: "POST", path: api.PathPeers, right: api.RightAdminister, handle: s.addPeer,
			summary: "Add a peer, or replace the one of its origin", body: json(api.Peer{}), ok: http.StatusCreated, answer: json(api.Peer{}), problems: []int{400, 501},
		}),
		{
			method: "DELETE", path: api.PathPeers, right: api.RightAdminister, handle: s.removePeer,
			summary: "Forget a peer: nothing of it is taken any more", ok: http.StatusNoContent, problems: []int{400, 501},
			params: []param{{in: "query", name: "origin", kind: "string", required: true, doc: "Of the peer's ledger"}},
		},
		s.agentRoute(route{
			method: "POST", path: api.PathClose, handle: s.closeRun, body: json(api.CloseRun{}), answer: json(api.RunState{}),
			summary: "End the run: as completed where the last claim holds, else 409 with the verdict; or as failed or stopped, for a reason",
		}),
		{
			method: "GET", path: api.PathState, right: rightAny, handle: s.getState,
			summary: "Where a run stands, by its records as they are now. Needs the right act, or read",
			ok:      200, answer: json(api.RunState{}), problems: []int{400, 501, 503},
		},
		{
			method: "GET", path: api.PathApprovals, right: api.RightRead, handle: s.listApprovals,
			summary: "What waits for a human, in open runs. A human's answer is a record that the human signs, submitted like any",
			ok:      200, answer: json(api.Approvals{}), problems: []int{501, 503},
		},
		{
			method: "GET", path: api.PathRunRecords, right: api.RightRead, handle: s.runRecords,
			summary: "Records of a run: its line, and what stands beside it", params: page, ok: 200, answer: json(api.Page{}), problems: []int{400},
		},
		record(route{
			method: "PUT", path: api.PathLease, right: api.RightRecord, handle: s.putLease,
			summary: "Take or renew the lease of a run, whether it was opened yet or not; a ttl_ms of 0 gives it back. It says who drives the run, and is no evidence",
			body:    json(api.Lease{}), ok: http.StatusNoContent, problems: []int{400, 409},
		}),
		{
			method: "GET", path: api.PathReceipt, right: api.RightRead, handle: s.getReceipt,
			summary: "Receipt of a record: a C2SP tlog-proof whose extra line is the record's JWS", ok: 200, answer: []media{{api.MediaText, nil}},
		},
		{
			method: "GET", path: api.PathConsistency, right: api.RightRead, handle: s.getConsistency,
			summary: "Proof that the tree of size to extends that of size from (RFC 6962, section 2.1.2)",
			params: []param{
				{in: "query", name: "from", kind: "integer", required: true, doc: "The earlier size"},
				query("to", "integer", "The later size; the durable one where absent"),
			}, ok: 200, answer: json(api.Consistency{}), problems: []int{400},
		},
		{
			method: "GET", path: api.PathBundles, right: api.RightRead, handle: s.getBundle,
			summary: "A bundle: all that an offline verifier needs about a run or a contiguous range",
			params:  bundle, ok: 200, answer: []media{{api.MediaBundle, nil}}, problems: []int{400, 503},
		},
		{
			method: "GET", path: api.PathEvents, right: api.RightRead, handle: s.events,
			summary: "New records as server-sent events: id is the index, event is record, data is a record. Resumes after the index in Last-Event-ID, or in after",
			params: []param{
				{in: "header", name: "Last-Event-ID", kind: "integer", doc: "Index of the last record that was received"},
				query("after", "integer", "The same, where no header can be set; -1 from the beginning on. Absent: from now on"),
			}, ok: 200, answer: []media{{api.MediaEvents, nil}}, problems: []int{400, 503},
		},
		record(route{
			method: "PUT", path: api.PathPayload, right: api.RightRecord, handle: s.putPayload,
			summary: "Store the payload that opens a commitment. The answer comes once it is durable: before the record that commits to it is submitted",
			params: []param{
				{in: "header", name: api.HeaderSalt, kind: "string", required: true, doc: "32 bytes of salt as base64url without padding"},
				{in: "header", name: "Content-Type", kind: "string", required: true, doc: "The media type of the commitment"},
			}, body: []media{{"*/*", nil}}, ok: 200, answer: json(api.Payload{}), problems: []int{400, 410, 411, 422, 507},
		}),
		record(route{
			method: "POST", path: api.PathPayloads, right: api.RightRecord, handle: s.postPayloads,
			summary: "Store many payloads, one JSON object a line, for the price of a few syncs",
			body:    []media{{api.MediaJSONLines, api.PayloadLine{}}}, ok: 200, answer: json([]api.Payload{}), problems: []int{400, 410, 507},
		}),
		{
			method: "GET", path: api.PathPayload, right: rightAny, handle: s.getPayload,
			summary: "A payload. Without the right payloads it is not found, whether it is there or not",
			ok:      200, answer: []media{{api.MediaBytes, nil}}, problems: []int{410},
		},
		{
			method: "DELETE", path: api.PathPayload, right: api.RightAdminister, handle: s.erasePayload,
			summary: "Erase a payload and its salt, and say so in the log",
			params:  []param{query("reason", "string", "An identifier: why")}, ok: 200, answer: json(api.Placed{}), problems: []int{400, 501},
		},
		record(route{
			method: "POST", path: api.PathTraces, right: api.RightAct, handle: s.postTraces,
			summary: "Take spans of an agent by the OpenTelemetry protocol: an ExportTraceServiceRequest, answered by an ExportTraceServiceResponse of the same encoding. " +
				"A trace becomes a run with the source observed, once no span of it came for ten seconds",
			body: []media{{api.MediaProtobuf, nil}, {api.MediaJSON, nil}}, ok: 200,
			answer: []media{{api.MediaProtobuf, nil}, {api.MediaJSON, nil}}, problems: []int{400, 501},
		}),
		{
			method: "GET", path: api.PathTrust, right: api.RightRead, log: true, handle: s.getTrust,
			summary: "What this daemon says an auditor should trust. An auditor gets it by another way",
			ok:      200, answer: json(nil),
		},
		{
			method: "GET", path: api.PathRegistry, right: api.RightRead, handle: s.getRegistry,
			summary: "The actors and their keys, as the ledger's own records say. Its ETag changes with every registry record", ok: 200, answer: json(api.Registry{}),
			params: []param{
				{in: "header", name: "If-None-Match", kind: "string", doc: "An ETag of before: 304 where nothing was registered or revoked since"},
			}, unchanged: true,
		},
		{
			method: "GET", path: api.PathTokens, right: api.RightAdminister, handle: s.listTokens,
			summary: "Tokens, without their secrets", ok: 200, answer: json(api.Tokens{}),
		},
		record(route{
			method: "POST", path: api.PathTokens, right: api.RightAdminister, handle: s.addToken,
			summary: "Make a token. Its secret is in this answer and nowhere else",
			body:    json(api.NewToken{}), ok: http.StatusCreated, answer: json(api.IssuedToken{}), problems: []int{400},
		}),
		{
			method: "DELETE", path: api.PathToken, right: api.RightAdminister, handle: s.revokeToken,
			summary: "Revoke a token, from the next request on", ok: http.StatusNoContent,
		},
		{
			method: "POST", path: api.PathBackups, right: api.RightAdminister, handle: s.backup,
			summary: "Write a backup on the daemon's machine, while it serves", ok: http.StatusCreated, answer: json(api.Backup{}), problems: []int{501},
		},
		{
			method: "POST", path: api.PathCheck, right: api.RightAdminister, handle: s.check,
			summary: "Recompute the whole store, while it serves", ok: 200, answer: json(api.Checked{}), problems: []int{503},
		},
		{
			method: "GET", path: api.PathHead, right: api.RightRead, log: true, handle: s.getHead,
			summary: "The newest durable tree head: a C2SP checkpoint", ok: 200, answer: []media{{api.MediaText, nil}},
		},
		{
			method: "GET", path: api.PathTiles, right: api.RightRead, log: true, handle: s.getTile,
			summary: "Tiles and entry tiles (C2SP tlog-tiles): /tile/<L>/<N>[.p/<W>] and /tile/entries/<N>[.p/<W>]",
			ok:      200, answer: []media{{api.MediaBytes, nil}},
		},
		{
			method: "GET", path: api.PathOpenAPI, handle: s.getOpenAPI,
			summary: "This document", ok: 200, answer: json(nil),
		},
		{
			method: "GET", path: api.PathHealth, handle: s.health,
			summary: "Whether the process answers", ok: 200, answer: json(api.Health{}),
		},
		{
			method: "GET", path: api.PathReady, handle: s.ready,
			summary: "Whether records are taken", ok: 200, answer: json(api.Health{}), problems: []int{503},
		},
		{
			method: "GET", path: api.PathMetrics, right: api.RightRead, handle: s.prometheus,
			summary: "Metrics in the text format of Prometheus", ok: 200, answer: []media{{"text/plain", nil}},
		},
	}
}
