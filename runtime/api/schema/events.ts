/** Types of events.v1; parse.ts has the grammar of a line. */
export const EVENTS_TYPES = `
Event kind
  action 6 string
  deprecatedCount 15 int32
  deprecatedFirstTimestamp 13 time
  deprecatedLastTimestamp 14 time
  deprecatedSource 12 core.v1.EventSource
  eventTime! 2 microTime
  metadata 1 meta.v1.ObjectMeta
  note 10 string
  reason 7 string
  regarding 8 core.v1.ObjectReference
  related 9 core.v1.ObjectReference
  reportingController 4 string
  reportingInstance 5 string
  series 3 EventSeries
  type 11 string

EventList kind
  items! 2 [Event]
  metadata 1 meta.v1.ListMeta

EventSeries
  count! 1 int32
  lastObservedTime! 2 microTime
`;
