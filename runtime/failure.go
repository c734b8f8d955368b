package runtime

import (
	"time"

	"ledgerd/evidence"
)

// Answer is what a runtime does about a failure.
type Answer string

// The answers.
const (
	AnswerRetry    Answer = "retry"    // the same call, under the same key, after a delay
	AnswerProbe    Answer = "probe"    // find out whether it happened; else escalate
	AnswerRepair   Answer = "repair"   // ask the model for another payload: a new authorization
	AnswerReplan   Answer = "replan"   // reset the context, and decide again
	AnswerEscalate Answer = "escalate" // ask a human
	AnswerStop     Answer = "stop"     // give the step up
)

// Rule is the answer to one class of failures.
type Rule struct {
	Answer Answer
	// For retry: how many attempts at most, the delay before the second and
	// the largest delay; each delay doubles, and is drawn between half of it and
	// all of it. For repair and replan: how many.
	Attempts int
	Delay    time.Duration
	MaxDelay time.Duration
}

// Rules has the answer to each class.
type Rules map[evidence.Class]Rule

// DefaultRules are the answers of docs/runtime.md.
func DefaultRules() Rules {
	retry := Rule{AnswerRetry, 5, 200 * time.Millisecond, 10 * time.Second}
	return Rules{
		evidence.ToolTimeout:        retry,
		evidence.ToolUnavailable:    retry,
		evidence.RateLimited:        retry,
		evidence.ToolFailed:         {Answer: AnswerStop},
		evidence.InvalidToolPayload: {Answer: AnswerRepair, Attempts: 3},
		evidence.BadReasoning:       {Answer: AnswerReplan, Attempts: 2},
		evidence.PermissionDenied:   {Answer: AnswerEscalate},
		evidence.BudgetExceeded:     {Answer: AnswerStop},
		evidence.OutcomeUnknown:     {Answer: AnswerProbe},
		evidence.ClaimUnsupported:   {Answer: AnswerStop},
	}
}

// Failure is an attempt that failed.
type Failure struct {
	Class evidence.Class
	Err   error
	// RetryAfter is how long the tool asked to be left alone; 0: it did not say.
	RetryAfter time.Duration
	// NotRun: the attempt certainly had no effect, for it never reached the
	// tool's work.
	NotRun bool
	Cost   evidence.Amounts
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return string(f.Class)
	}
	return string(f.Class) + ": " + f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }
