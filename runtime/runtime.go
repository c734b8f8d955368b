package runtime

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.opentelemetry.io/otel/trace"

	"ledgerd/evidence"
	"ledgerd/handoff"
)

// Config says what a Runtime works with. Ledger, Origin, Actor, Key and Permit
// are needed.
type Config struct {
	Ledger Ledger
	Origin string               // the ledger's name
	Actor  string               // the runtime's own, registered with Key
	Key    *evidence.PrivateKey // signs every record of its runs
	Permit Permitter
	Tools  []Tool
	// Rules answer failures; DefaultRules where nil. ToolRules go before them,
	// by the tool's name and class.
	Rules     Rules
	ToolRules map[string]Rules
	// Contracts chooses the contract of a run by its task type and its structured
	// input, as the operator has it; nil, or a nil contract: none. An agent has
	// no say in it.
	Contracts func(task string, input []byte) (*Contract, error)
	// Handoffs gives an agent's party to handoffs, under what is trusted at the moment
	// ([handoff.Party.For]): it reads back what runs continue and took up that are opened
	// again. nil: such runs are opened with [Continues] alone, and take nothing up.
	Handoffs func(agent string) *handoff.Party
	// NeedContract: a claim whose verdict is no_contract completes nothing. That is
	// one in a run without a contract, or under one that asks for nothing, or one
	// that asserts nothing. If false, no_contract is shown ([Verdict.Notes]) and does
	// not block: for who has not written contracts yet.
	NeedContract bool
	// Notify tells humans that something waits for them. It must not block; what
	// it says is not evidence. It may be nil.
	Notify func(Notice)
	// Team is asked where no policy names a team: about doubts, and what was
	// denied. "operators" if "".
	Team string
	// Lease is how long a driver may be silent before another may take its run
	// over: 30 s if 0. Around a call it is as long as the tool's timeout, and
	// more.
	Lease time.Duration
	// Tracer makes OpenTelemetry spans of runs, decisions, permission checks and
	// calls of tools; each record then names its span under ext (dev.ledgerd.trace).
	// nil: nothing is traced, and the global provider not asked.
	Tracer trace.TracerProvider
	Clock  Clock     // the system's if nil
	Random io.Reader // of salts; crypto/rand's if nil
}

// Contract is a contract's document and who declared it: an operator or a user,
// never the agent.
type Contract struct {
	Document   []byte
	DeclaredBy string
}

// Notice is something that waits for a human.
type Notice struct {
	Run           evidence.RunID
	Key           string
	Step          string
	Authorization evidence.ID // or the execution or claim that it is about
	Team          string
	Reason        string // the policies that ask, or a failure's class
	Action        string
	Resource      string
	Input         []byte // exactly what would be done
}

// Clock is where a runtime has its time from.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or with the context's error before.
	Sleep(ctx context.Context, d time.Duration) error
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A Runtime governs runs. Its methods may be called from any goroutine.
type Runtime struct {
	cfg    Config
	tools  map[string]*registered
	tracer trace.Tracer // nil: nothing is traced

	mu        sync.Mutex
	documents map[[32]byte]*evidence.Commitment // policy sets and tool descriptions that were stored
	quiet     map[evidence.RunID]time.Time      // until when a call of a driver before may last
}

// registered is a tool that was found sound.
type registered struct {
	tool   Tool
	spec   *Spec
	schema *jsonschema.Schema // nil: any JSON value
	doc    *Document          // description and schema, as authorizations commit to it
}

// New returns a Runtime. It refuses tools that are not sound: two of one name,
// a schema that does not compile, a name that is no identifier.
func New(cfg Config) (*Runtime, error) {
	switch {
	case cfg.Ledger == nil, cfg.Key == nil, cfg.Permit == nil, cfg.Actor == "", cfg.Origin == "":
		return nil, errors.New("runtime: want a ledger and its origin, an actor and its key, and a permitter")
	}
	if cfg.Rules == nil {
		cfg.Rules = DefaultRules()
	}
	if cfg.Team == "" {
		cfg.Team = "operators"
	}
	if cfg.Lease <= 0 {
		cfg.Lease = 30 * time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	rt := &Runtime{
		cfg: cfg, tools: make(map[string]*registered), tracer: newTracer(cfg.Tracer),
		documents: make(map[[32]byte]*evidence.Commitment), quiet: make(map[evidence.RunID]time.Time),
	}
	for _, t := range cfg.Tools {
		reg, err := register(t)
		if err != nil {
			return nil, fmt.Errorf("runtime: %w", err)
		}
		if rt.tools[reg.spec.Name] != nil {
			return nil, fmt.Errorf("runtime: two tools are called %q: a tool must not stand in for another", reg.spec.Name)
		}
		rt.tools[reg.spec.Name] = reg
	}
	return rt, nil
}

// RunID returns the run that a caller's key stands for: the same key is the same
// run, so that opening it again resumes it.
func (rt *Runtime) RunID(key string) evidence.RunID { return runID(rt.cfg.Origin, rt.cfg.Actor, key) }

func runID(origin, actor, key string) evidence.RunID {
	space := uuid.NewSHA1(uuid.NameSpaceDNS, []byte("run.ledgerd"))
	id := uuid.NewHash(sha256.New(), space, []byte(origin+"\n"+actor+"\n"+key), 8)
	return evidence.RunID("run_" + id.String())
}

// newHolder names a driver: nobody else has the name.
func newHolder(random io.Reader) (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("runtime: a name for the driver: %w", err)
	}
	return "driver-" + hex.EncodeToString(b[:]), nil
}

// rule is the answer to a class of failures of a tool.
func (rt *Runtime) rule(tool string, class evidence.Class) Rule {
	if r, ok := rt.cfg.ToolRules[tool][class]; ok {
		return r
	}
	if r, ok := rt.cfg.Rules[class]; ok {
		return r
	}
	return Rule{Answer: AnswerStop}
}

// document returns the commitment to a document, which is stored if it was not.
func (rt *Runtime) document(ctx context.Context, d *Document) (*evidence.Commitment, error) {
	if d == nil {
		return nil, nil
	}
	key := d.sum()
	rt.mu.Lock()
	defer rt.mu.Unlock() // the second who needs it waits until it is durable
	if c := rt.documents[key]; c != nil {
		return c, nil
	}
	p, err := rt.seal(d.Media, d.Data)
	if err != nil {
		return nil, err
	}
	if _, err := rt.cfg.Ledger.PutPayloads(ctx, []evidence.Payload{*p}); err != nil {
		return nil, fmt.Errorf("runtime: store a document: %w", err)
	}
	c := p.Commitment()
	rt.documents[key] = &c
	return &c, nil
}

// seal salts a payload.
func (rt *Runtime) seal(media string, data []byte) (*evidence.Payload, error) {
	if media == "" {
		media = mediaJSON
	}
	p := &evidence.Payload{Media: media, Data: data}
	if _, err := io.ReadFull(rt.cfg.Random, p.Salt[:]); err != nil {
		return nil, fmt.Errorf("runtime: a payload's salt: %w", err)
	}
	return p, nil
}

// sealInto returns a function that seals a payload, adds it to a record's and
// returns its commitment.
func (rt *Runtime) sealInto(payloads *[]evidence.Payload) func(media string, data []byte) (*evidence.Commitment, error) {
	return func(media string, data []byte) (*evidence.Commitment, error) {
		p, err := rt.seal(media, data)
		if err != nil {
			return nil, err
		}
		*payloads = append(*payloads, *p)
		c := p.Commitment()
		return &c, nil
	}
}

const (
	mediaJSON = "application/json"
	mediaText = "text/plain"
)
