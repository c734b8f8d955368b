package api

import (
	"encoding/json"

	"ledgerd/evidence"
)

// Paths of handoffs.
const (
	PathHandoffs      = "/v1/handoffs" // POST is the inbox, on a listener of its own
	PathHandoff       = "/v1/handoffs/{offer}"
	PathHandoffBundle = "/v1/handoffs/{offer}/bundle"
	PathHandoffReject = "/v1/handoffs/{offer}/reject"
	PathHandoffSend   = "/v1/handoffs/{offer}/send"
	PathOffers        = "/v1/runs/{run}/offers"
	PathTakeUp        = "/v1/runs/{run}/handoffs"
	PathPeers         = "/v1/peers"
)

// Peer is another organisation's daemon.
type Peer struct {
	Origin string          `json:"origin,omitempty" doc:"Of the peer's ledger, by which it is called. May be left out of a new one whose trust file names one other ledger"`
	URL    string          `json:"url"              doc:"Of its inbox: https://host, or http at a loopback address"`
	Trust  json.RawMessage `json:"trust"            doc:"Its trust file: its ledger, and those of whom it hands on"`
	Added  string          `json:"added,omitempty"  doc:"RFC 3339"`
}

// Peers lists peers.
type Peers struct {
	Peers []Peer `json:"peers"`
}

// Received answers a bundle that came to the inbox.
type Received struct {
	Offer    evidence.ID  `json:"offer"`
	State    string       `json:"state"              doc:"received: it is known here, and waits or was answered. recorded: the acceptance is on record" enum:"received,recorded"`
	Recorded *evidence.ID `json:"recorded,omitempty" doc:"State recorded: the giver's record of the acceptance"`
	Head     uint64       `json:"head,omitempty"     doc:"Of an offer that waits, the size of the giver's tree head in the bundle that is kept"`
}

// The states of what was received.
const (
	StateReceived = "received"
	StateRecorded = "recorded"
)

// Waiting is an offer that lies in the inbox: verified when it came, and accepted by
// nobody.
type Waiting struct {
	Offer    evidence.ID        `json:"offer"`
	Origin   string             `json:"origin"   doc:"Of the giver's ledger"`
	Giver    string             `json:"giver"    doc:"The agent that made the offer"`
	To       evidence.Recipient `json:"to"`
	Task     string             `json:"task"`
	Expires  evidence.Time      `json:"expires"`
	Received evidence.Time      `json:"received"`
	Size     int64              `json:"size"     doc:"Bytes of the bundle"`
}

// The states of a delivery.
const (
	DeliveryPending   = "pending"
	DeliveryDelivered = "delivered"
	DeliveryRefused   = "refused"
	DeliveryExpired   = "expired"
	DeliveryByHand    = "by_hand"
	DeliveryAnswered  = "answered"
)

// Delivery is how far an offer or an acceptance of this ledger has come on its way.
type Delivery struct {
	State  string         `json:"state"            doc:"pending: it is sent until it arrives. delivered. refused: by the peer, for reason. expired: it did not arrive in time. by_hand: no peer has the ledger that it is for. answered: the acceptance came back" enum:"pending,delivered,refused,expired,by_hand,answered"`
	Tries  int            `json:"tries,omitempty"  doc:"State pending: how often it was tried since the daemon was started"`
	Next   *evidence.Time `json:"next,omitempty"   doc:"State pending: when it is tried again"`
	Reason string         `json:"reason,omitempty" doc:"Why it was refused, or did not arrive yet: the reason of the peer's problem"`
	Detail string         `json:"detail,omitempty" doc:"In words, which may be the peer's, whom nobody vouches for"`
}

// Handoff is a record of a handoff in this ledger.
type Handoff struct {
	Index      uint64              `json:"index"`
	ID         evidence.ID         `json:"id"`
	Kind       evidence.Kind       `json:"kind"                 doc:"handoff.offered, handoff.accepted or handoff.rejected"`
	Time       evidence.Time       `json:"time"`
	Actor      string              `json:"actor"`
	Offer      evidence.ID         `json:"offer"`
	Origin     string              `json:"origin"               doc:"Of the other side's ledger"`
	To         *evidence.Recipient `json:"to,omitempty"         doc:"Of an offer: whom it is for"`
	Task       string              `json:"task,omitempty"       doc:"Of an offer"`
	Run        evidence.RunID      `json:"run,omitempty"        doc:"The run that offers, or that the acceptance opens"`
	Acceptance *evidence.ID        `json:"acceptance,omitempty" doc:"The receiver's record, where this is the giver's of it"`
	Reason     string              `json:"reason,omitempty"     doc:"Of a rejection"`
	Delivery   *Delivery           `json:"delivery,omitempty"   doc:"Of an offer and of an acceptance that goes back"`
}

// Handoffs is one page of them, in log order, and what waits in the inbox.
type Handoffs struct {
	Handoffs []Handoff `json:"handoffs"`
	Waiting  []Waiting `json:"waiting"        doc:"The inbox, all of it, the oldest first"`
	Next     *uint64   `json:"next,omitempty" doc:"Value of after for the next page; absent on the last"`
	Size     uint64    `json:"size"           doc:"Size of the tree that the page was read under"`
}

// Offered is an offer to an agent of this ledger, verified anew.
type Offered struct {
	Waiting
	Scope          []evidence.ScopeEntry `json:"scope"`
	Evidence       []evidence.ID         `json:"evidence"`
	Records        uint64                `json:"records"                   doc:"Records of the giver's ledger that were verified"`
	Acceptance     *evidence.ID          `json:"acceptance,omitempty"      doc:"Where it was accepted"`
	Opens          evidence.RunID        `json:"opens,omitempty"           doc:"The run that continues it, where it was accepted"`
	Media          string                `json:"media,omitempty"           doc:"Media type of the artifact"`
	Artifact       json.RawMessage       `json:"artifact,omitempty"        doc:"The value of what is handed over, where it is JSON; its bytes are in the bundle"`
	ArtifactBase64 []byte                `json:"artifact_base64,omitempty" doc:"Else its bytes in standard base64"`
	UnverifiedNote string                `json:"unverified_note,omitempty" doc:"What the giver says in natural language, which nobody verified"`
}

// MakeOffer offers work to another agent.
type MakeOffer struct {
	To             evidence.Recipient    `json:"to"                        doc:"Whom it is for: origin of the ledger, actor, and the thumbprint of the key that signs for it there"`
	Task           string                `json:"task"                      doc:"Task type, as the receiver knows it"`
	Scope          []evidence.ScopeEntry `json:"scope"                     doc:"What the receiver may do: action and resource, which a final * extends to all that begin so"`
	Evidence       []evidence.ID         `json:"evidence,omitempty"        doc:"Records of this run on which the offer rests"`
	Steps          []string              `json:"steps,omitempty"           doc:"And steps of this run, each of which has to have succeeded"`
	Artifact       json.RawMessage       `json:"artifact,omitempty"        doc:"What is handed over: any JSON value"`
	ArtifactBase64 []byte                `json:"artifact_base64,omitempty" doc:"Or else bytes in standard base64, with media"`
	Media          string                `json:"media,omitempty"           doc:"Media type of artifact_base64"`
	Note           string                `json:"note,omitempty"            doc:"Natural language for the receiver, which nobody verifies"`
	ForS           int64                 `json:"for_s,omitempty"           doc:"Seconds for which it can be accepted; 3,600 where absent"`
	HeadMaxAgeS    int64                 `json:"head_max_age_s,omitempty"  doc:"How old the tree head may be then, in seconds; as for_s where absent"`
}

// Offer answers with the offer's record.
type Offer struct {
	Run      evidence.RunID `json:"run"`
	Offer    evidence.ID    `json:"offer"`
	Expires  evidence.Time  `json:"expires"`
	Delivery Delivery       `json:"delivery"`
}

// RejectOffer says why an offer is not wanted.
type RejectOffer struct {
	Because string `json:"because,omitempty" doc:"A word of yours: an identifier. May be left out where the offer does not verify"`
}

// Rejection answers with its record.
type Rejection struct {
	Rejection evidence.ID `json:"rejection"`
	Offer     evidence.ID `json:"offer"`
	Reason    string      `json:"reason"`
}

// TakeUp names what an open run is to take up.
type TakeUp struct {
	Offer evidence.ID `json:"offer" doc:"Of an offer to the run's agent that waits here"`
}

// TakenUp answers with what was taken up, and by which record.
type TakenUp struct {
	Continued
	Run     evidence.RunID `json:"run"`
	Context evidence.ID    `json:"context" doc:"The record of the run that takes it up: for the decisions that are made from it"`
}

// Continued is the handoff that a run continues.
type Continued struct {
	Acceptance evidence.ID           `json:"acceptance"`
	Offer      evidence.ID           `json:"offer"`
	Origin     string                `json:"origin" doc:"Of the giver's ledger"`
	Giver      string                `json:"giver"`
	Task       string                `json:"task"   doc:"As the offer says"`
	Scope      []evidence.ScopeEntry `json:"scope"  doc:"Nothing else is permitted in the run, whatever the policies say"`
}
